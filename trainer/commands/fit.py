"""`trainer fit`: trains, keeps the best epoch, evaluates it."""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import keras
import tensorflow as tf

from trainer import files, places, records, terminal
from trainer import run as runs
from trainer.board.watch import Watch
from trainer.commands import _board, _custom, _resume, _workers, evaluate
from trainer.commands._assemble import Job, assemble
from trainer.config import Config
from trainer.data import feed, split_file
from trainer.data.pipeline import Faults, reported
from trainer.data.stream import Shard
from trainer.errors import Interrupted, UserError
from trainer.training import checkpoint, display, freeze, hardware, interrupt, loop, objective
from trainer.training.cluster import Cluster
from trainer.training.peers import Peers
from trainer.training.profile import Profile


def run(
    config: Config,
    resume: bool = False,
    watchers: Sequence[keras.callbacks.Callback] = (),
    evaluation: bool = True,
    part: bool = False,
    cluster: Cluster | None = None,
) -> runs.Run:
    """Trains in a new run, or goes on with the last one of this name, if there is one.

    Of several workers all do the same, but the first alone writes the run.

    Args:
        watchers: callbacks besides those of the config; they come after the checkpoint, and one
            that stops the training stops all phases.
        evaluation: whether to end with the test split.
        part: of another command, which says itself what the pictures are, how to watch it, what
            came out and what is next.
        cluster: the workers.
    """
    if cluster and resume and (done := _trained(config)):
        if cluster.worker:
            _resume.say_finished(config, *done)
            return done[0]
        cluster = None  # nobody is waited for who may have ended well before
    with ExitStack() as stack:
        peers, follow = stack.enter_context(_workers.met(config, cluster, resume))
        this = _resumable(config, peers) if resume else None  # before anything is drawn
        start = _resume.Start(checkpoint.State())
        if this:
            start = _begin_again(config, this, peers, stack)
        state = start.state
        job = assemble(config, this, state.phase, peers.strategy)
        over = _resume.finished(config, state)
        if this:
            if peers.chief:
                _go_on(config, job, this, state)
            told = this.metrics if len(job.sides.test) else this.confidence
            judged = told.exists() and not config.evaluation.gates.given()
            if over and peers.told(lambda: judged or not evaluation):
                _resume.say_finished(config, this, state)
                return this
        else:
            this = _created(config, job, resume, stack)
        follow(this)
        faults = Faults({}, [])
        if not over:
            state = _train(config, job, this, start, faults, watchers, part)
        _conclude(config, job, this, state, faults)
        try:
            if evaluation:
                with terminal.muted(part):
                    _evaluate(job, this)
        finally:  # of a run that misses what is demanded of it, too
            if peers.chief and config.tensorboard.enabled and config.tensorboard.hparams:
                _board.compare(config, job, this, state)
    return this


def _trained(config: Config) -> tuple[runs.Run, checkpoint.State] | None:
    """The run to go on with, if nothing is left to train in it."""
    with suppress(UserError, ExceptionGroup), terminal.muted():
        this = runs.resumable(config)
        state = _resume.found(config, this).state if this else None
        if this and state and _resume.finished(config, state):
            return this, state
    return None


def _resumable(config: Config, peers: Peers) -> runs.Run | None:
    """The run to go on with, as the first worker finds it."""

    def found() -> str | None:
        run = runs.resumable(config)
        return str(run.folder) if run else None

    folder = peers.told(found)
    return runs.Run(Path(folder)) if folder else None


def _begin_again(config: Config, this: runs.Run, peers: Peers, stack: ExitStack) -> _resume.Start:
    """Where the run stands, locked for as long as the stack lasts."""
    _resume.demand_same(config, this)
    _custom.bring(config, this)
    with peers.chief_first():
        if peers.chief:
            stack.enter_context(files.alone(this.lock, "trainer fit", "--resume"))
            for folder in (this.folder, this.last.parent):
                files.remove_partial(folder)
        start = _resume.found(config, this)
    peers.demand_same("checkpoints", f"{start.origin}, {_resume.reached(start.state)}")
    return start


def _created(config: Config, job: Job, resume: bool, stack: ExitStack) -> runs.Run:
    """A new run, made by the first worker and locked for as long as the stack lasts."""
    if resume:
        terminal.say(f"resume   there is no run of {config.name} yet, so this is the first")

    def write(run: runs.Run) -> None:
        records.write_classes(run, job.classes)
        counts = {name: len(side) for name, side in job.sides._asdict().items()}
        records.write_data(run, job.sides.train.multi_label, counts, job.left_out)
        split_file.write(job.sides, run.split)
        records.write_custom(run, _custom.modules(config))
        records.write_environment(run)

    this = runs.Run(Path(job.peers.told(lambda: str(runs.create(config, write).folder))))
    if job.peers.chief:
        stack.enter_context(files.alone(this.lock, "trainer fit", "--resume"))
    return this


def _go_on(config: Config, job: Job, this: runs.Run, state: checkpoint.State) -> None:
    """The run's files become those of the config given now, as far as the state has come."""
    _append(job.callbacks)
    if not _resume.finished(config, state):
        records.forget_evaluation(this)  # of an earlier end
    runs.write_config(this, config)
    # The last epoch may be in the checkpoint alone, or no longer in it.
    if state.history or this.history.exists():
        _write_logs(job, this, state)


def _append(callbacks: Sequence[keras.callbacks.Callback]) -> None:
    """What was logged before stays, though another training begins."""
    for callback in callbacks:
        if isinstance(callback, keras.callbacks.CSVLogger):
            callback.append = True


def _train(
    config: Config,
    job: Job,
    this: runs.Run,
    start: _resume.Start,
    faults: Faults,
    watchers: Sequence[keras.callbacks.Callback],
    part: bool,
) -> checkpoint.State:
    """Trains to the end, or to the signal that stops it."""
    with ExitStack() as stack:
        heed = stack.enter_context(
            interrupt.heeded(job.peers.most if job.peers.workers > 1 else None)
        )
        done = start.state.epoch * job.steps + start.state.step
        shard = Shard(job.peers.worker, job.peers.workers)
        fed = stack.enter_context(
            feed.opened(job.sides, config.data, config.seed, faults, places.decoded(), done, shard)
        )
        _describe(config, job, this, start.state, fed, part)
        keeper = _keeper(config, job, this, start, heed)
        board = None
        if config.tensorboard.enabled and job.peers.chief:
            board = stack.enter_context(_board.watch(config, job, this, start.state))
        callbacks = stack.enter_context(_callbacks(config, job, this, keeper, fed, board))
        stack.enter_context(reported(faults))
        try:
            callbacks = [interrupt.Agreement(heed), *callbacks, *watchers, heed]
            _train_phases(config, job, keeper, fed, callbacks, _eyes(config, board))
        except interrupt.Stopped as end:
            kept = _resume.how_to_go_on(this, keeper.written)
            raise Interrupted(kept, 128 + end.number) from None
        except KeyboardInterrupt:
            raise Interrupted(_resume.how_to_go_on(this, keeper.written)) from None
        except tf.errors.ResourceExhaustedError as error:  # TensorBoard's files
            if os.strerror(errno.ENOSPC) not in str(error):
                raise
            full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            raise files.not_writable(this.tensorboard, full) from None
        except OSError as error:  # a callback's file, or the disk is full
            raise files.not_writable(Path(error.filename or this.folder), error) from None
    if board and not part:
        _board.say(board)
    return keeper.state


def _train_phases(
    config: Config,
    job: Job,
    keeper: checkpoint.Checkpoints,
    fed: feed.Feed,
    callbacks: list[keras.callbacks.Callback],
    eyes: loop.Eyes | None,
) -> None:
    """One after the other on one stream of batches, from the phase at hand on."""
    stages, aims = config.training.stages(), job.objective
    batches = loop.opened(fed.training, job.strategy, config.data.batch_size)
    for phase in range(keeper.state.phase, len(stages)):
        if phase > keeper.state.phase:
            aims = job.plan.enter(aims, phase)
            keeper.enter(phase, aims.variables)
            _append(job.callbacks)
        if len(stages) > 1 or stages[phase].frozen != "none":
            what = freeze.described(job.model)
            terminal.say(f"phase    {phase + 1} of {len(stages)}: {what}")
        state, end = keeper.state, _resume.end(config, keeper.state)
        loop.train(
            job.model,
            aims,
            job.strategy,
            batches,
            fed.validation,
            # A phase that a callback has ended only waits for its on_train_end.
            epochs=state.epoch if state.stopped and not state.step else end,
            steps=job.steps,
            first_epoch=state.epoch,
            first_step=state.step,
            callbacks=callbacks,
            eyes=eyes,
        )
        watched = job.model.stop_training and not keeper.state.stopped  # by one after the keeper
        if keeper.state.ended or watched:  # within an epoch: something is wrong
            return


def _eyes(config: Config, board: Watch | None) -> loop.Eyes | None:
    """Those of TensorBoard; other workers have to look as well, since they bring what they see."""
    if board:
        return loop.Eyes(board.began, board.validated)
    blind = loop.Eyes(lambda *_: None, lambda *_: None)
    return blind if config.tensorboard.enabled else None


def _keeper(
    config: Config,
    job: Job,
    this: runs.Run,
    start: _resume.Start,
    heed: interrupt.Heed,
) -> checkpoint.Checkpoints:
    best = config.training.best
    if best.mode == "auto":
        mode = objective.direction(best.monitor, job.objective)
        best = best.model_copy(update={"mode": mode})
    keeper = checkpoint.Checkpoints(
        _resume.places(this),
        best,
        config.training.checkpoint,
        job.callbacks,
        job.objective.running,
        start.state._replace(
            epochs=config.training.all_epochs(),
            callbacks_as=_resume.written(config),
            recipe=_resume.recipe(config),
        ),
        start.origin,
        heed.asked,
        loop.TIMING,
        job.objective.variables,
        job.peers,
    )
    heed.clock = keeper.late
    return keeper


@contextmanager
def _callbacks(
    config: Config,
    job: Job,
    this: runs.Run,
    keeper: checkpoint.Checkpoints,
    fed: feed.Feed,
    board: Watch | None,
) -> Iterator[list[keras.callbacks.Callback]]:
    """In the order of their work: the user's own, what keeps, what shows."""
    training, names = config.training, objective.names(job.objective)
    done = keeper.state.epoch * job.steps + keeper.state.step
    filling = fed.stores.training is not None
    advise = _Advise(lambda wait: feed.advice(fed, config.data, wait), skipped=filling)
    write = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_: _write_logs(job, this, keeper.state)
    )
    shows = [board] if board else []
    if training.profile and job.peers.chief:
        shows = [*shows, Profile(this.tensorboard / "train", *training.profile)]
    epochs = _resume.planned(config, keeper.state)
    with display.display(names, epochs, job.steps, config.data.batch_size, done) as shown:
        yield [*_workers.own(job.callbacks, job.peers), *shows, keeper, write, shown, advise]


class _Advise(keras.callbacks.Callback):
    """Says once what to do about a training that waits for its input.

    Args:
        skipped: the epochs that say nothing, because a cache is being filled.
    """

    def __init__(self, advice: Callable[[float], str], skipped: int) -> None:
        super().__init__()
        self.advice, self.skipped, self.said = advice, skipped, False

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        line = self.advice((logs or {})["input_wait"])
        if line and not self.said and not self.skipped:
            terminal.say(f"hint     {line}")
            self.said = True
        self.skipped = 0


def _write_logs(job: Job, this: runs.Run, state: checkpoint.State) -> None:
    if not job.peers.chief:
        return
    records.write_history(this.history, state.history, objective.names(job.objective))
    records.write_history(this.timing, state.timing, loop.TIMING)


def _conclude(
    config: Config, job: Job, this: runs.Run, state: checkpoint.State, faults: Faults
) -> None:
    """Says what came out."""
    planned = _resume.planned(config, state)
    if state.epoch < planned:
        terminal.say(f"stopped  by a callback after epoch {state.epoch} of {planned}")
    monitor = config.training.best.monitor
    best = [epoch for epoch, logs in enumerate(state.history, 1) if logs[monitor] == state.best]
    if best:
        terminal.say(f"best     epoch {best[0]}, {monitor} {state.best:.4g}")
    if unreadable := job.peers.union(faults.unreadable):
        terminal.warn(f"{len(unreadable)} pictures could not be decoded and were left out")


def _evaluate(job: Job, this: runs.Run) -> None:
    if not job.peers.chief:
        evaluate.assist(this, job.peers)
        return
    if len(job.sides.test):
        evaluate.run(this, peers=job.peers)
    else:
        terminal.say("no test split, so nothing to evaluate")
        evaluate.trust(this, job.peers)
    terminal.say(f"next: trainer export {this.folder}")


def _describe(
    config: Config,
    job: Job,
    this: runs.Run,
    state: checkpoint.State,
    fed: feed.Feed,
    part: bool,
) -> None:
    terminal.say(f"run      {this.folder}")
    terminal.say(f"devices  {hardware.described(job.strategy, config.training)}")
    counts = ", ".join(f"{len(side)} {name}" for name, side in job.sides._asdict().items())
    names = ", ".join(job.classes[:10]) + ", …" * (len(job.classes) > 10)
    with terminal.muted(part):
        terminal.say(f"data     {counts}; {len(job.classes)} classes: {names}")
        terminal.say(f"cache    {fed.stores.said}")
        terminal.say(f"workers  {fed.maker.reason}")
    terminal.say(f"network  {job.model.count_params():,} parameters")
    if config.tensorboard.enabled and not part:
        terminal.say(f"watch    trainer tensorboard {this.folder}")
    if config.training.profile:
        first, last = config.training.profile
        view = 'TensorBoard shows it with pip install "keras-image-trainer[profile]"'
        terminal.say(f"profile  steps {first} to {last}; {view}")
    if state.epoch or state.step:
        terminal.say(f"resumed  {_resume.reached(state)}")
