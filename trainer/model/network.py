"""The network of a config, whatever its notation, and its scores as probabilities."""

import keras
import numpy as np

from trainer.config.base import Call
from trainer.config.model import Model
from trainer.errors import UserError
from trainer.parts import part


def build(spec: Model, image_size: tuple[int, int], classes: tuple[str, ...]) -> keras.Model:
    """float32 pixels 0 to 255 [N, H, W, 3] -> scores [N, K], K classes; H, W are image_size."""
    return part("model", spec.kind).build(spec, image_size, classes)


def with_probabilities(model: keras.Model, loss: Call) -> keras.Model:
    """The same network with probabilities [N, K] for scores, sharing its weights.

    A loss with `from_logits: true` means that they still want their softmax or sigmoid.
    """
    if not loss.arguments.get("from_logits"):
        return model
    activation = "sigmoid" if "Binary" in loss.name else "softmax"
    probabilities = keras.layers.Activation(activation, name="probabilities")(model.output)
    return keras.Model(model.input, probabilities, name=model.name)


def demand_probabilities(model: keras.Model, loss: Call) -> None:
    """Raises UserError if scores that the loss takes for probabilities are none.

    Keras would train on, clipping them: a loss that does not fall and no word why.
    """
    noise = np.random.default_rng(0).uniform(0, 255, (8, *model.input_shape[1:])).astype("float32")
    scores_NK = np.asarray(model(noise), np.float64)
    sums_to_one = "Binary" in loss.name or np.allclose(scores_NK.sum(axis=1), 1, atol=1e-2)
    if "Crossentropy" not in loss.name or loss.arguments.get("from_logits"):
        return
    if not sums_to_one or scores_NK.min() < 0 or scores_NK.max() > 1:
        raise UserError(
            "training.loss",
            f"{loss.name} expects probabilities, but the last layer gives other scores",
            "give the last layer activation: softmax, or the loss from_logits: true",
        )
