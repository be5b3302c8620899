"""The model that a command line names: a run, a config for its latest run, or an exported file.

Only what needs TensorFlow imports it: with an ONNX file a command starts in a second.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from trainer import run as runs
from trainer import terminal
from trainer.data import inputs
from trainer.errors import UserError
from trainer.runtimes import opened
from trainer.runtimes.opened import Opened


def parted(
    arguments: Sequence[str], verb: str = "predict", least: int = 1, otherwise: str = ""
) -> tuple[runs.Run | Path, Sequence[str]]:
    """`[MODEL] PATH...`: the model, the latest run if none is named, and what it is to look at.

    The first argument is the model if it looks like one: a .yaml file, the folder of a run, or what
    `runtimes.opened` knows by its suffix or by a file in it.

    Args:
        verb: the command, for messages.
        least: how many paths there have to be.
        otherwise: what to do if there are none, behind the hint.

    Raises: UserError if there is no such run, if there are fewer paths, or a model is among them.
    """
    first, named = arguments[0], is_model(arguments[0])
    model, paths = find(first if named else None), arguments[1:] if named else arguments
    if len(paths) < least:
        hint = f"as in trainer {verb} {first} hand.jpg{otherwise}"
        if not runs.is_run(first) and inputs.has_pictures(Path(first)):  # a run has those drawn
            hint = f"{first} is a model; for the pictures in it: trainer {verb} MODEL {first}"
        raise UserError("PATH", "no pictures given", hint)
    for path in paths:
        if is_model(path) and not inputs.has_pictures(Path(path)):
            problem = "is a model, but expected here is what it is to look at"
            raise UserError(path, problem, f"one model is named first: trainer {verb} MODEL PATH…")
    return model, paths


def is_model(target: str) -> bool:
    """Whether it names a model, by its looks; whether there is one, `find` and `open` say."""
    if inputs.is_address(target) or inputs.is_live([target]):
        return False
    with suppress(OSError):  # too long for a name, or in a folder that is locked
        return runs.is_run(target) or _is_file(Path(target)) or _is_nearly(Path(target))
    return False


def _is_file(path: Path) -> bool:
    return opened.kind_of(path) is not None or path.suffix.lower() in opened.FOREIGN


def _is_nearly(folder: Path) -> bool:
    """All runs of a name, or all exports of a run: `find` says how to go on."""
    above, exports = folder / "latest" / "config.yaml", folder / runs.PARITY
    return above.is_file() or exports.is_file()


def find(target: str | None) -> runs.Run | Path:
    """What the name stands for: a run, or an exported file. Raises: UserError if there is no run of
    that name, or several models are in the folder."""
    if target is None or runs.is_run(target):
        return runs.find(target)
    path = Path(target)
    if _is_file(path):
        return path
    if (path / runs.PARITY).is_file():
        inside = sorted(each for each in path.iterdir() if opened.kind_of(each))
        hint = f"as in {inside[0]}" if inside else "write them: trainer export"
        raise UserError(target, "is the folder of a run's exports: name one of them", hint)
    return runs.find(target)


def open(found: runs.Run | Path) -> Opened:
    """The model, ready to be asked; the same whatever it comes from.

    Raises: UserError if it cannot be used; by `scores` too, if the file fails on pictures.
    """
    if isinstance(found, runs.Run):
        return _trained(found)
    with terminal.silenced():  # runtimes write what they think of a file to standard error
        model = opened.open(found)
    return Opened(model.about, _checked(model, found))


def import_tensorflow() -> None:
    """Now, without the lines about oneDNN and CUDA that it writes."""
    with terminal.silenced():
        import tensorflow as tf

        tf.config.list_physical_devices()


def _trained(run: runs.Run) -> Opened:
    import_tensorflow()
    from trainer.commands._about import about
    from trainer.commands._restore import restore
    from trainer.evaluation.predict import forward

    trained = restore(run)
    network = forward(trained.model)
    return Opened(about(run, trained), lambda images: network(images).numpy())


def _checked(model: Opened, path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Its scores. What a file makes of pictures is as little to be relied on as the file itself."""

    def scores(images: np.ndarray) -> np.ndarray:
        try:
            found = np.asarray(model.scores(images))
        except Exception as error:  # every runtime has classes of its own
            said = str(error).partition("\n")[0] or type(error).__name__
            raise UserError(str(path), f"fails on pictures: {said}") from None
        expected = (len(images), len(model.about.labels))
        if found.shape != expected:
            problem = f"gives {list(found.shape)} numbers for {expected[0]} pictures"
            raise UserError(str(path), f"{problem} and {expected[1]} labels")
        if not np.isfinite(found).all():
            raise UserError(str(path), "gives probabilities that are no numbers")
        return found

    return scores
