"""The network of a config, whatever its notation, and its scores as probabilities."""

import itertools
from collections.abc import Sequence

import keras
import numpy as np

from trainer.config.base import Call
from trainer.config.model import Backbone, Model
from trainer.errors import UserError
from trainer.logits import logits
from trainer.parts import part


def build(
    spec: Model,
    input_shape: tuple[int, int, int],
    classes: tuple[str, ...],
    pretrained: bool = False,
) -> keras.Model:
    """float32 pixels 0 to 255 [N, H, W, C] -> scores [N, K], K classes; (H, W, C) the shape.

    Args:
        pretrained: fetch and read the weights that the section names. Without it neither a
            download nor a file is touched: for networks that get the weights of a run.
    """
    if isinstance(spec, Backbone) and not pretrained:
        spec = spec.model_copy(update={"weights": "none"})
    return part("model", spec.kind).build(spec, input_shape, classes)


def backbone_layers(model: keras.Model, spec: Model) -> tuple[str, ...]:
    """The names of the backbone's layers in a network of `build`, from input to features; empty
    for notations without one. The preprocessing is none of them."""
    return part("model", spec.kind).layers(model, spec) if isinstance(spec, Backbone) else ()


def with_probabilities(model: keras.Model, loss: Call) -> keras.Model:
    """The same network with probabilities [N, K] for scores, sharing its weights.

    A loss with `from_logits: true` means that they still want their softmax or sigmoid.
    """
    if not loss.arguments.get("from_logits"):
        return model
    activation = "sigmoid" if "Binary" in loss.name else "softmax"
    name = _free("probabilities", model)
    probabilities = keras.layers.Activation(activation, name=name)(model.output)
    return keras.Model(model.input, probabilities, name=model.name)


def averaged(members: Sequence[keras.Model]) -> keras.Model:
    """One network that gives the mean of the probabilities [N, K] of several with one input shape:
    a deep ensemble (Lakshminarayanan et al. 2017)."""
    pixels = keras.Input(members[0].input_shape[1:])
    named = [
        keras.Model(each.input, each.output, name=f"member_{index}")
        for index, each in enumerate(members)
    ]
    mean = keras.layers.Average(name="mean")([each(pixels) for each in named])
    return keras.Model(pixels, mean, name="ensemble")


def with_temperature(model: keras.Model, temperature: float, multi_label: bool) -> keras.Model:
    """The same network with its logits divided by the temperature: probabilities [N, K].

    The activation is taken off the last layer and put behind the division. Where it is no plain
    softmax (sigmoid for several labels), logits are the logarithms of the probabilities.
    """
    if temperature == 1:
        return model
    activation = keras.activations.sigmoid if multi_label else keras.activations.softmax
    last = model.layers[-1]
    if getattr(last, "activation", None) is activation and last.output is model.output:
        linear = type(last).from_config({**last.get_config(), "activation": "linear"})
        raw = linear(last.input)
        linear.set_weights(last.get_weights())
    else:
        raw = logits(model.output, multi_label, keras.ops)
    cooled = keras.layers.Rescaling(1 / temperature, name=_free("temperature", model))(raw)
    name = _free("probabilities", model)
    probabilities = keras.layers.Activation(activation, name=name)(cooled)
    return keras.Model(model.input, probabilities, name=model.name)


def _free(name: str, model: keras.Model) -> str:
    """The name, with a number behind it if the network has one of that name already."""
    taken = {each.name for each in model.operations}
    numbered = (f"{name}_{number}" for number in itertools.count(1))
    return next(each for each in itertools.chain([name], numbered) if each not in taken)


def demand_probabilities(model: keras.Model, loss: Call, multi_label: bool) -> None:
    """Raises UserError if the scores are not of the kind that a crossentropy takes them for.

    Keras would train on: with scores that are no probabilities it clips them, and the loss does not
    fall; with probabilities taken for logits, evaluation and exports would apply softmax twice.
    """
    if "Crossentropy" not in loss.name:
        return
    if multi_label and "Binary" not in loss.name:
        problem = f"{loss.name} wants one label per picture, but these may have several"
        raise UserError(f"training.loss.{loss.name}", problem, "write BinaryCrossentropy")
    noise = np.random.default_rng(0).uniform(0, 255, (8, *model.input_shape[1:])).astype("float32")
    scores_NK = np.asarray(model(noise), np.float64)
    sum_to_one = np.allclose(scores_NK.sum(axis=1), 1, atol=1e-2)
    between = scores_NK.min() >= 0 and scores_NK.max() <= 1
    are_probabilities = between and (sum_to_one or "Binary" in loss.name)
    if loss.arguments.get("from_logits"):
        if are_probabilities and scores_NK.any():  # all 0: a last layer that begins with zeros
            raise UserError(
                f"training.loss.{loss.name}.from_logits",
                f"{loss.name} expects logits, but the last layer already gives probabilities",
                "remove from_logits, or the activation of the last layer",
            )
    elif not are_probabilities:
        activation = "sigmoid" if "Binary" in loss.name else "softmax"
        raise UserError(
            "training.loss",
            f"{loss.name} expects probabilities, but the last layer gives other scores",
            f"give the last layer activation: {activation}, or the loss from_logits: true",
        )
    elif multi_label and sum_to_one and scores_NK.shape[1] > 1:
        raise UserError(
            "training.loss",
            "the probabilities of a picture sum to 1, but it may have several labels",
            "give the last layer activation: sigmoid",
        )
