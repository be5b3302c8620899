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
    probabilities = keras.layers.Activation(activation)(model.output)
    return keras.Model(model.input, probabilities, name=model.name)


def demand_probabilities(model: keras.Model, loss: Call) -> None:
    """Raises UserError if the scores are not of the kind that a crossentropy takes them for.

    Keras would train on: with scores that are no probabilities it clips them, and the loss does not
    fall; with probabilities taken for logits, evaluation and exports would apply softmax twice.
    """
    if "Crossentropy" not in loss.name:
        return
    noise = np.random.default_rng(0).uniform(0, 255, (8, *model.input_shape[1:])).astype("float32")
    scores_NK = np.asarray(model(noise), np.float64)
    sums_to_one = "Binary" in loss.name or np.allclose(scores_NK.sum(axis=1), 1, atol=1e-2)
    are_probabilities = sums_to_one and scores_NK.min() >= 0 and scores_NK.max() <= 1
    if loss.arguments.get("from_logits"):
        if are_probabilities:
            raise UserError(
                f"training.loss.{loss.name}.from_logits",
                f"{loss.name} expects logits, but the last layer already gives probabilities",
                "remove from_logits, or the activation of the last layer",
            )
    elif not are_probabilities:
        raise UserError(
            "training.loss",
            f"{loss.name} expects probabilities, but the last layer gives other scores",
            "give the last layer activation: softmax, or the loss from_logits: true",
        )
