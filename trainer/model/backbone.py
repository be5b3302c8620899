"""`kind: backbone`: a network of keras.applications without its top, and a head of layers.

The whole is one flat functional model, so the backbone's layers are `model.layers` by Keras's own
names, for whoever freezes, shows or exports them.
"""

import hashlib
import inspect
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from trainer import objects
from trainer.config.base import Call
from trainer.config.model import Backbone
from trainer.errors import UserError
from trainer.model.layers import connect, first_sentences, whole

OWN = ("grey_to_rgb", "preprocessing")  # layers of ours between the input and the backbone
KINDS = "a file that ends in .h5 (as Keras publishes them), .weights.h5 or .keras"


def build(
    spec: Backbone, input_shape: tuple[int, int, int], classes: tuple[str, ...]
) -> keras.Model:
    """The network: float32 pixels 0 to 255 [N, H, W, C] -> scores [N, K], K classes.

    A grey picture (C = 1) becomes three equal channels; then follows the preprocessing that the
    backbone's weights were trained with, unless it has that inside.

    Raises: UserError for arguments, sizes and weights that do not fit, and as `layers.build`.
    """
    inputs = keras.Input(input_shape)
    tensor = inputs
    if input_shape[2] == 1:
        tensor = keras.layers.Concatenate(name="grey_to_rgb")([inputs] * 3)
    network = objects.bind(spec.network, "keras.applications", "model.network")
    tensor = preprocessed(network.func, tensor)
    features = _application(spec, network, tensor)
    return whole(inputs, connect(spec, features, classes), "model.head")


def layers(model: keras.Model, spec: Backbone) -> tuple[str, ...]:
    """The names of the backbone's layers in a network that `build` made, from input to features."""
    head, _ = spec.placed(spec.model_dump(), "model")
    names = [layer.name for layer in model.layers[1 : len(model.layers) - len(head)]]
    return tuple(name for name in names if name not in OWN)


def preprocessed(network: Callable[..., keras.Model], pixels: keras.KerasTensor) -> Any:
    """Pixels 0 to 255 [N, H, W, 3], RGB, as the network's module preprocesses them [N, H, W, 3].

    What `preprocess_input` does is asked of it rather than listed here: it is linear in each
    channel, and may swap channels. It becomes layers of Keras, so that a saved model needs nothing.
    """
    probe_N3 = np.concatenate([np.zeros((1, 3)), 255 * np.eye(3)])
    module: Any = inspect.getmodule(network)
    answer_N3 = module.preprocess_input(probe_N3.reshape(4, 1, 1, 3).copy()).reshape(4, 3)
    offset = answer_N3[0]
    gain = (answer_N3[1:] - offset) / 255  # [channel in, channel out]
    order, scale = gain.argmax(axis=0), gain.max(axis=0)
    if order.tolist() != [0, 1, 2]:
        pixels = keras.ops.take(pixels, order, axis=-1)
    if np.allclose(scale, 1) and np.allclose(offset, 0):
        return pixels
    # In float32: half precision would round the pixels before they are centred.
    rescaling = keras.layers.Rescaling(
        scale.tolist(), offset.tolist(), dtype="float32", name="preprocessing"
    )
    return rescaling(pixels)


def _application(
    spec: Backbone, network: "partial[keras.Model]", tensor: keras.KerasTensor
) -> keras.KerasTensor:
    """The features: [N, h, w, channels], or [N, channels] with `pooling`."""
    path = None if spec.weights in ("imagenet", "none") else _file(spec.weights)
    known = "imagenet" if spec.weights == "imagenet" else None
    place = f"model.network.{spec.network.name}"
    try:
        application = _called(network, known, tensor)
    except Exception as error:  # Keras downloads with a plain Exception
        reason = first_sentences(error)
        if "Input size must be at least" in reason:
            raise UserError("data.image_size", f"{spec.network.name}: {reason}") from None
        if known and re.match("URL fetch failure|Incomplete or corrupted file", reason):
            raise UserError("model.weights", *_unfetched(reason)) from None
        raise UserError(place, f"refused by keras.applications: {reason}") from None
    if path:
        _demand_whole(path, network, tensor)
        _load(application, path, spec.network)
    return application.output


def _called(
    network: "partial[keras.Model]", weights: str | None, tensor: keras.KerasTensor
) -> keras.Model:
    with warnings.catch_warnings():
        # MobileNet says that it takes the weights of 224 pixels for other sizes; there are no more.
        warnings.simplefilter("ignore", UserWarning)
        return network(
            include_top=False,
            weights=weights,
            input_tensor=tensor,
            input_shape=tuple(tensor.shape[1:]),  # else no size is refused
        )


# --- weights --------------------------------------------------------------------------------------


def _unfetched(reason: str) -> tuple[str, str]:
    """Problem and way out when Keras's download fails."""
    url = re.search(r"https?://\S+\w", reason)
    fetched = f"fetch {url[0]} elsewhere" if url else "fetch the file elsewhere"
    return f"cannot be fetched: {reason}", f"{fetched}, and write the file's path as weights"


def _file(weights: str) -> Path:
    """The file of that path. Raises UserError for none, or one of another kind."""
    path = Path(weights).expanduser()
    hint = f"write imagenet, none, or {KINDS}"
    if not path.is_file():
        raise UserError("model.weights", f"no such file: {path}", hint)
    if path.suffix not in (".h5", ".keras"):
        raise UserError("model.weights", f"{path} is of no known kind", hint)
    return path


def _demand_whole(path: Path, network: "partial[keras.Model]", tensor: keras.KerasTensor) -> None:
    """Raises UserError if it is not the file that Keras publishes under its name."""
    if path.suffix == ".keras" or path.name.endswith(".weights.h5"):
        return
    published = _published(network, tensor)
    if published is None or published.name != path.name or not published.hash:
        return
    kind = "sha256" if len(published.hash) == 64 else "md5"
    with path.open("rb") as file:
        found = hashlib.file_digest(file, kind).hexdigest()
    if found != published.hash:
        problem = f"{path} is damaged: its {kind} is {found}, expected {published.hash}"
        hint = f"fetch it again from {published.url}, or rename it if it is your own"
        raise UserError("model.weights", problem, hint)


def _load(application: keras.Model, path: Path, call: Call) -> None:
    """Raises UserError with the first layer that does not fit."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # one per layer without weights
            application.load_weights(path)
    except Exception as error:  # h5py and zipfile have many
        # Keras goes on with all values of the variable, and a list of all layers.
        reason = re.split(" Target variable:| List of objects", first_sentences(error))[0]
        arguments = ", ".join(f"{name}: {value}" for name, value in call.arguments.items())
        network = f"{call.name}: {{{arguments}}}" if arguments else call.name
        problem = f"{path} does not hold the weights of {network} without its top"
        raise UserError("model.weights", f"{problem}: {reason}") from None


class _Published(NamedTuple):
    """A file of weights of Keras's."""

    name: str
    url: str
    hash: str | None


class _Asked(Exception):
    """Carries what would have been fetched."""


def _published(network: "partial[keras.Model]", tensor: keras.KerasTensor) -> _Published | None:
    """What Keras would fetch for this network, None if there are no such weights."""
    try:
        with _fetching_nothing():
            _called(network, "imagenet", tensor)
    except _Asked as asked:
        return asked.args[0]
    except ValueError:  # of this alpha, say
        return None
    return None


@contextmanager
def _fetching_nothing() -> Iterator[None]:
    """Keras's downloads raise _Asked. It keeps names and hashes only in its calls of get_file."""
    module: Any = inspect.getmodule(keras.utils.get_file)
    fetch = module.get_file

    def ask(fname: str, origin: str, file_hash: str | None = None, **_: Any) -> None:
        raise _Asked(_Published(fname, origin, file_hash))

    module.get_file = ask
    try:
        yield
    finally:
        module.get_file = fetch
