"""Several workers of one training: what each of them does, and what becomes of them if one ends."""

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import keras
import tensorflow as tf

from trainer import files, terminal
from trainer import run as runs
from trainer.commands import _resume
from trainer.config import Config, tree
from trainer.errors import Failed, Lost, UserError
from trainer.training import cluster as clusters
from trainer.training import hardware
from trainer.training.cluster import Cluster
from trainer.training.peers import Peers

# They only write: the first worker is enough, and several would write into the same file.
WRITERS = (
    keras.callbacks.CSVLogger,
    keras.callbacks.ModelCheckpoint,
    keras.callbacks.RemoteMonitor,
    keras.callbacks.TensorBoard,
)

# What collectives raise once a worker is gone.
GONE = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.InternalError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
)


def cluster(config: Config) -> Cluster | None:
    """The workers that the environment tells of, if the config wants them.

    Raises: UserError if it does and there are none.
    """
    strategy = config.training.strategy
    found = clusters.found(os.environ) if strategy in ("auto", "multi_worker") else None
    if strategy == "multi_worker" and not found:
        problem = "multi_worker, but nothing tells of other workers"
        hint = (
            "on this machine: trainer fit CONFIG --workers 2; on several: TF_CONFIG, srun or "
            "Kubernetes, as docs/cluster.md shows"
        )
        raise UserError("training.strategy", problem, hint)
    return found


def own(
    callbacks: Sequence[keras.callbacks.Callback], peers: Peers
) -> list[keras.callbacks.Callback]:
    """The callbacks of this worker."""
    return [each for each in callbacks if peers.chief or not isinstance(each, WRITERS)]


@contextmanager
def met(
    config: Config, cluster: Cluster | None, resume: bool = False
) -> Iterator[tuple[Peers, Callable]]:
    """The workers, once all are there and want the same; they leave the block together.

    What those say that are not the first is kept, and goes to a file of the run once the function
    that is yielded too has been called with it.

    Raises: Lost if one of them does not come, or is gone before the end.
    """
    with ExitStack() as stack:
        peers = Peers.of(hardware.prepare(config.training, config.seed, cluster))
        apart = None
        if not peers.chief:
            where = f"workers/{peers.worker}.log of the run"
            terminal.say(
                f"worker   {peers.worker} of {peers.workers}; what it says goes to {where}"
            )
            apart = stack.enter_context(terminal.apart())

        def follow(this: runs.Run) -> None:
            if apart:
                path = this.log(peers.worker)
                files.demand_writable(path, "runs")
                apart(path)

        if cluster:
            stack.enter_context(_together(peers, cluster))
        _demand_same(config, resume, peers)
        yield peers, follow


def _demand_same(config: Config, resume: bool, peers: Peers) -> None:
    """Raises UserErrors, at all workers, for what they are told differently."""
    said = json.dumps({**_resume.shared(config), "--resume": resume})
    told = [json.loads(each) for each in peers.exchange(said.encode())]
    wrong = []
    for where, values in tree.apart(told):
        worker = next(index for index, value in enumerate(values) if value != values[0])
        mine, theirs = (tree.line(values[index]) for index in (worker, 0))
        problem = f"worker {worker} is told {mine}, worker 0 {theirs}"
        wrong.append(UserError(where, problem, "all workers need the same command and config"))
    if wrong:
        raise ExceptionGroup("workers", wrong)


@contextmanager
def _together(peers: Peers, cluster: Cluster) -> Iterator[None]:
    """All workers leave the block together. Raises: Lost."""
    try:
        try:
            yield
        except Failed:  # the work is done
            peers.most(0)
            raise
        peers.most(0)
    except GONE as error:
        raise Lost(_lost(error, cluster)) from None


def _lost(error: tf.errors.OpError, cluster: Cluster) -> str:
    gone = [
        f"worker {index} ({address})"
        for index, address in enumerate(cluster.workers)
        if re.search(rf"task:{index}\b", str(error)) and index != cluster.worker
    ]
    why = "" if gone else f" ({error.message.splitlines()[-1] if error.message else error})"
    who = " and ".join(gone) or "another worker"
    return (
        f"{who} has ended or cannot be reached, so worker {cluster.worker} ends too{why}\n"
        "  its own messages and workers/*.log of the run may say why. Start all of them again with "
        "--resume: the run goes on from its last checkpoint"
    )
