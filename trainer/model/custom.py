"""`kind: custom`: the user's own function builds the network."""

import traceback
from pathlib import Path
from typing import Any

import keras

from trainer import objects
from trainer.config.base import FUNCTION, Call
from trainer.config.model import Custom
from trainer.errors import UserError
from trainer.model.layers import first_sentences, whole

WHERE = "model.function"


def build(spec: Custom, input_shape: tuple[int, int, int], classes: tuple[str, ...]) -> keras.Model:
    """The network: float32 pixels 0 to 255 [N, H, W, C] -> scores [N, K], K classes.

    The function is called as `build(inputs, K, **arguments)` with a KerasTensor and returns one.

    Raises: UserError if it cannot be imported or called, raises, or returns anything else.
    """
    inputs = keras.Input(input_shape)
    call = Call(spec.function, spec.arguments)
    function = objects.bind(call, FUNCTION, "model", {"$classes": len(classes)})
    try:
        scores = function(inputs, len(classes))
    except Exception as error:  # it may raise whatever it likes
        text = first_sentences(error)
        problem = f"raised {type(error).__name__}: {text}{_line(error)}"
        raise UserError(WHERE, problem) from None
    _demand_scores(scores, len(classes))
    return whole(inputs, scores, WHERE)


def _line(error: Exception) -> str:
    """Where in the user's own code it happened: the last frame outside of any library."""
    frames = traceback.extract_tb(error.__traceback__)[1:]
    own = [frame for frame in frames if "site-packages" not in Path(frame.filename).parts]
    return f" ({own[-1].filename}:{own[-1].lineno})" if own else ""


def _demand_scores(scores: Any, classes: int) -> None:
    """Raises UserError for what is not one score per class."""
    if not isinstance(scores, keras.KerasTensor):
        hint = "return the output of its last layer"
        if isinstance(scores, keras.Model):
            hint = "return model.output, and build it on the inputs that are given"
        problem = f"returned {type(scores).__name__}, expected a KerasTensor (None, {classes})"
        raise UserError(WHERE, problem, hint)
    if tuple(scores.shape) != (None, classes):
        problem = f"returned shape {tuple(scores.shape)}, expected (None, {classes})"
        raise UserError(WHERE, problem, "its second argument is the number of classes")
