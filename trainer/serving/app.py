"""The paths of the server and what they answer. Every error is JSON: `{"error": "…"}`."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple

import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from trainer.config.about import About
from trainer.serving import bodies, page, protocol
from trainer.serving.batcher import Batcher, Full
from trainer.serving.bodies import Bodies, Picture
from trainer.serving.limits import Limits
from trainer.serving.metrics import Measured, Metrics

Read = Callable[[bytes], np.ndarray]


def application(
    scores: Callable[[np.ndarray], np.ndarray],
    about: About,
    kind: str,
    read: Read,
    limits: Limits,
) -> Starlette:
    """The server of one model.

    Args:
        scores: uint8 images [N, H, W, C] -> probabilities float32 [N, K]; called by one thread.
        kind: of export that the model is, for clients of the protocol.
        read: a file's content -> uint8 [H, W, C], or ValueError; called by several threads.
    """
    named = {"name": about.name, "config_sha256": about.config_sha256, "trainer": about.trainer}
    metrics = Metrics(named, lambda: batcher.inside)
    batcher = Batcher(scores, limits, metrics.batch)
    service = _Service(about, kind, read, limits, metrics, batcher, Bodies(limits))

    @asynccontextmanager
    async def computing(app: Starlette) -> AsyncIterator[None]:
        decoders = ThreadPoolExecutor(os.cpu_count(), "decode")
        asyncio.get_running_loop().set_default_executor(decoders)  # of asyncio.to_thread
        task = asyncio.create_task(batcher.run())
        yield
        task.cancel()

    return Starlette(
        routes=service.routes(),
        lifespan=computing,
        middleware=[Middleware(Measured, metrics=metrics)],
        exception_handlers={HTTPException: _refused, ClientDisconnect: _gone, Exception: _broken},
    )


class _Json(JSONResponse):
    """What a client's text brings back may hold half a surrogate pair, which JSON can write and
    UTF-8 cannot."""

    def render(self, content: Any) -> bytes:
        """As Starlette's, compact."""
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode("utf-8", "backslashreplace")


class _Service(NamedTuple):
    """What the answers are made of."""

    about: About
    kind: str
    read: Read
    limits: Limits
    figures: Metrics
    batcher: Batcher
    bodies: Bodies

    def routes(self) -> list[Route]:
        return [
            Route("/", self.page),
            Route("/predict", self.predict, methods=["POST"]),
            Route("/health", self.health),
            Route("/metrics", self.metrics),
            Route("/v2", self.server),
            Route("/v2/health/live", self.live),
            Route("/v2/health/ready", self.ready),
            Route("/v2/models/{name}", self.model),
            Route("/v2/models/{name}/ready", self.model_ready),
            Route("/v2/models/{name}/infer", self.infer, methods=["POST"]),
        ]

    async def predict(self, request: Request) -> Response:
        with self.bodies.taken(request) as bounded:
            found = await bodies.pictures(bounded, self.limits)
            with self._places(len(found)):
                images = await self._read(found)
                scores_NK = await self.batcher.scores(images)
        rows = zip(found, scores_NK, strict=True)
        predictions = [
            {"name": picture.name, **self.about.answer(scores_K.tolist())}
            for picture, scores_K in rows
        ]
        return _Json({**self._model(), "predictions": predictions})

    async def infer(self, request: Request) -> Response:
        self._demand(request)
        with self.bodies.taken(request) as bounded:
            asked = await asyncio.to_thread(self._asked, await bounded.body())
            with self._places(len(asked.images)):
                scores_NK = await self.batcher.scores([*asked.images])
        return _Json(protocol.answer(asked, self.about, scores_NK))

    async def page(self, request: Request) -> Response:
        return HTMLResponse(page.page(self.about), headers=page.HEADERS)

    async def health(self, request: Request) -> Response:
        ready = not self.batcher.full
        said = {"live": True, "ready": ready, **self._model(), "labels": self.about.labels}
        return _Json(said, 200 if ready else 503)

    async def metrics(self, request: Request) -> Response:
        return self.figures.response()

    async def server(self, request: Request) -> Response:
        return _Json(protocol.server())

    async def live(self, request: Request) -> Response:
        return _Json({"live": True})

    async def ready(self, request: Request) -> Response:
        ready = not self.batcher.full
        return _Json({"live": True, "ready": ready}, 200 if ready else 503)

    async def model(self, request: Request) -> Response:
        self._demand(request)
        return _Json(protocol.model(self.about, self.kind))

    async def model_ready(self, request: Request) -> Response:
        self._demand(request)
        ready = not self.batcher.full
        return _Json({"name": self.about.name, "ready": ready}, 200 if ready else 503)

    # --- their parts ----------------------------------------------------------------------------

    def _model(self) -> dict[str, Any]:
        about = self.about
        return {"model": about.name, "config_sha256": about.config_sha256, "task": about.task}

    def _demand(self, request: Request) -> None:
        """Raises HTTPException 404 if another model is asked for."""
        name = request.path_params["name"]
        if name != self.about.name:
            raise HTTPException(404, f"no model '{name}' here, only '{self.about.name}'")

    def _asked(self, body: bytes) -> protocol.Asked:
        """In one go: as Python's objects a body takes twenty times its weight, so few may be that
        at once."""
        return protocol.asked(bodies.document(body), self.about, self.limits.pictures)

    @contextmanager
    def _places(self, count: int) -> Iterator[None]:
        try:
            with self.batcher.places(count):
                yield
        except Full:
            raise HTTPException(503, "too many pictures at once", bodies.BUSY) from None

    async def _read(self, found: Sequence[Picture]) -> list[np.ndarray]:
        """uint8 [H, W, C] each. Raises: HTTPException 400 that names all that cannot be decoded."""
        read = [asyncio.to_thread(self.read, picture.content) for picture in found]
        images = await asyncio.gather(*read, return_exceptions=True)
        wrong = []
        for number, (picture, image) in enumerate(zip(found, images, strict=True), 1):
            if isinstance(image, ValueError):
                alone = picture.name is None and len(found) == 1
                wrong.append(str(image) if alone else f"{picture.name or number}: {image}")
            elif isinstance(image, BaseException):
                raise image
        if wrong:
            raise HTTPException(400, "; ".join(wrong))
        return images  # type: ignore[return-value]


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _Json({"error": error.detail}, error.status_code, error.headers)


async def _gone(request: Request, error: Exception) -> Response:
    """The client did not wait for it: nobody reads this, but the metrics count it as nginx does."""
    return Response(status_code=499)


async def _broken(request: Request, error: Exception) -> Response:
    """A bug of ours or a runtime that fails: the log has the traceback."""
    return _Json({"error": f"the server failed: {type(error).__name__}"}, 500)
