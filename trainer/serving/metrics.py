"""What a server counts and measures, as Prometheus reads it."""

import time
from collections.abc import Callable

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    generate_latest,
)
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The figures of one server; names and units after Prometheus' own conventions."""

    def __init__(self, model: dict[str, str], waiting: Callable[[], int]) -> None:
        """
        Args:
            model: what tells it from another, as text by name.
            waiting: how many pictures are inside now.
        """
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # memory, CPU time, open files
        self.requests = Counter(
            "trainer_requests", "Answered requests.", ["path", "status"], registry=registry
        )
        self.seconds = Histogram(
            "trainer_request_seconds", "From the head of a request to the end of its answer.",
            ["path"], buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.pictures = Counter("trainer_pictures", "Pictures computed.", registry=registry)
        self.batches = Histogram(
            "trainer_batch_pictures", "Pictures of a batch.", buckets=SIZES, registry=registry
        )
        self.computing = Histogram(
            "trainer_batch_seconds", "What the network takes for a batch.",
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        queue = Gauge(
            "trainer_queue_pictures", "Pictures being decoded, waiting or computed.",
            registry=registry,
        )  # fmt: skip
        queue.set_function(waiting)
        Info("trainer_model", "The model that answers.", registry=registry).info(model)

    def batch(self, size: int, seconds: float) -> None:
        """A batch was computed."""
        self.pictures.inc(size)
        self.batches.observe(size)
        self.computing.observe(seconds)

    def response(self) -> Response:
        """All of it, in Prometheus' text format."""
        return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)


class Measured:
    """Middleware: counts every answer and takes its time.

    What was asked for by a path of nobody's is counted as `other`: made-up paths must not fill the
    memory.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            path = getattr(scope.get("route"), "path", "other")
            self.metrics.requests.labels(path, status).inc()
            self.metrics.seconds.labels(path).observe(time.perf_counter() - start)
