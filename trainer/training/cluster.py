"""Several machines that train together: who they are, and whether all of them are there.

Every worker runs the same command. TensorFlow would wait for one that never comes without a word
and without an end, so they look for each other before it starts.
"""

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from threading import Thread
from typing import Any, NamedTuple

from trainer import terminal
from trainer.errors import Lost, UserError

CONFIG = "TF_CONFIG"  # as TensorFlow documents it: {"cluster": {"worker": [...]}, "task": {...}}
HOSTS, INDEX = "TRAINER_HOSTS", "JOB_COMPLETION_INDEX"  # Kubernetes gives the second by itself
NAMES = (CONFIG, HOSTS, "SLURM_STEP_NUM_TASKS")  # of whatever may tell of workers

PAUSE = 0.2  # seconds between two looks at a peer
PATIENCE = 10  # seconds until it is said who is missing


class Cluster(NamedTuple):
    """Who trains together: host:port of each worker, which of them this is, who told so."""

    workers: tuple[str, ...]
    worker: int
    by: str


def found(environment: Mapping[str, str]) -> Cluster | None:
    """The workers that the environment tells of, by TF_CONFIG, by Kubernetes for an indexed Job, or
    by SLURM for a step of several tasks; None if there is one alone.

    Raises: UserError for what makes no sense.
    """
    ways = (_by_config, _by_kubernetes, _by_slurm)
    cluster = next(filter(None, (way(environment) for way in ways)), None)
    return cluster if cluster and len(cluster.workers) > 1 else None


def config(workers: Sequence[str], index: int) -> str:
    """TF_CONFIG of one of them."""
    task = {"type": "worker", "index": index}
    return json.dumps({"cluster": {"worker": list(workers)}, "task": task})


def _by_config(environment: Mapping[str, str]) -> Cluster | None:
    text = environment.get(CONFIG)
    if not text:
        return None
    hint = f"as in {config(['a:2222', 'b:2222'], 0)}"
    try:
        told: Any = json.loads(text)
        jobs, task = told.get("cluster", {}), told.get("task", {})
        if not jobs:
            return None
        strange = sorted({*jobs, task["type"]} - {"chief", "worker"})
        if strange:
            problem = f"has jobs called {', '.join(strange)}; expected only worker, or chief"
            raise UserError(CONFIG, problem, hint)
        before = jobs.get("chief", []) if task["type"] == "worker" else []
        workers = (*jobs.get("chief", []), *jobs.get("worker", []))
        return _checked(workers, len(before) + int(task["index"]), CONFIG, hint)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise UserError(CONFIG, f"is not what TensorFlow expects: {text}", hint) from None


def _by_kubernetes(environment: Mapping[str, str]) -> Cluster | None:
    hosts, index = environment.get(HOSTS), environment.get(INDEX)
    if not hosts:
        return None
    hint = f"as in {HOSTS}=trainer-0.trainer:2222,trainer-1.trainer:2222"
    workers = tuple(host.strip() for host in hosts.split(",") if host.strip())
    if len(workers) > 1 and (index is None or not index.isdecimal()):
        problem = f"names {len(workers)} workers, but {INDEX} does not say which of them this is"
        raise UserError(HOSTS, problem, "an indexed Job of Kubernetes sets it")
    return _checked(workers, int(index or 0), HOSTS, hint)


def _by_slurm(environment: Mapping[str, str]) -> Cluster | None:
    """TensorFlow's own resolver sorts the hosts, so that node10 comes before node2 and ranks are
    another's, and fails without GPUs; what it reads the variables with is right."""
    count = environment.get("SLURM_STEP_NUM_TASKS", "1")
    if not count.isdecimal() or int(count) < 2:
        return None
    from tensorflow.python.distribute.cluster_resolver import slurm_cluster_resolver as slurm

    try:
        hosts = slurm.expand_hostlist(environment["SLURM_STEP_NODELIST"])
        tasks = slurm.expand_tasks_per_node(environment["SLURM_STEP_TASKS_PER_NODE"])
        index = int(environment["SLURM_PROCID"])
        # Jobs that share a node must not share a port.
        first = 10_000 + 16 * (int(environment.get("SLURM_JOB_ID", 0)) % 1250)
        pairs = list(zip(hosts, tasks, strict=True))
    except (KeyError, ValueError) as error:
        raise UserError(
            "SLURM_STEP_NODELIST", f"cannot be read: {error}", "start by srun"
        ) from None
    workers = [f"{host}:{first + number}" for host, many in pairs for number in range(many)]
    return _checked(workers, index, "SLURM", "start by srun, with --distribution=block")


def _checked(workers: Sequence[str], index: int, by: str, hint: str) -> Cluster:
    """Raises UserError for an address that is none, for one that stands twice, and for an index
    that there is not."""
    for worker in workers:
        if not _is_address(worker):
            raise UserError(by, f"expected host:port, received '{worker}'", hint)
        if workers.count(worker) > 1:
            raise UserError(by, f"names {worker} twice", hint)
    if not 0 <= index < len(workers):
        problem = f"says that this is worker {index}, but they are numbered 0 to {len(workers) - 1}"
        raise UserError(by, problem, hint)
    return Cluster(tuple(workers), index, by)


def _is_address(text: str) -> bool:
    """Whether it is host:port; a host of IPv6 stands in brackets."""
    host, _, port = text.rpartition(":")
    plain = host and (":" not in host or (host[0], host[-1]) == ("[", "]"))
    return bool(plain) and port.isdecimal() and 0 < int(port) < 2**16


def meet(cluster: Cluster, seconds: float) -> None:
    """Waits until every worker listens at its address.

    Says after ten seconds who is missing. Raises: Lost after `seconds`.
    """
    with _listening(int(cluster.workers[cluster.worker].rpartition(":")[2])):
        begun, said = time.monotonic(), False
        missing = dict.fromkeys(set(range(len(cluster.workers))) - {cluster.worker}, "")
        while missing:
            found = {worker: _answer(cluster.workers[worker]) for worker in missing}
            missing = {worker: why for worker, why in found.items() if why}
            waited = time.monotonic() - begun
            if missing and waited > seconds:
                break
            if missing and waited > PATIENCE and not said:
                said = True
                terminal.say(f"waiting  for {_numbered(cluster, missing)}")
            if missing:
                time.sleep(PAUSE)
    if missing:
        raise Lost(
            f"{_numbered(cluster, missing)} did not appear within {seconds:g} s\n"
            "  are they started, and can this machine reach them? training.worker_timeout is how "
            "long to wait"
        )


def _numbered(cluster: Cluster, missing: Mapping[int, str]) -> str:
    names = [f"{worker} ({cluster.workers[worker]}: {why})" for worker, why in missing.items()]
    return f"worker{'s' * (len(names) > 1)} {', '.join(names)}"


def _answer(worker: str) -> str:
    """Why nobody answers there; empty if somebody listens: it, or TensorFlow in its place, which
    has met all others."""
    host, _, port = worker.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=2):
            return ""
    except (socket.gaierror, UnicodeError):  # no name of a host is written so
        return "its name is not known here"
    except OSError as error:
        return os.strerror(error.errno).lower() if error.errno else "no answer"


@contextmanager
def _listening(port: int) -> Iterator[None]:
    """Takes calls at this port, of IPv6 too as TensorFlow does, and says nothing.

    Raises: UserError if it is another's.
    """
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        server = socket.create_server(("", port), family=family, dualstack_ipv6=both)
    except OSError as error:
        problem = f"port {port} of this worker cannot be opened: {os.strerror(error.errno or 0)}"
        raise UserError("", problem, "does another training run here?") from None

    def answer() -> None:
        with suppress(OSError):
            while True:
                server.accept()[0].close()

    with ExitStack() as stack:
        stack.enter_context(closing(server))
        Thread(target=answer, daemon=True).start()
        yield
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)  # close alone would not wake the thread


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens at."""
    with ExitStack() as stack:
        servers = [
            stack.enter_context(closing(socket.create_server(("localhost", 0))))
            for _ in range(count)
        ]
        return [server.getsockname()[1] for server in servers]
