"""Layers of our own, for what Keras does not offer; in YAML by their dotted names.

N batch, H, W, C: height, width, channels. G = 8: the four quarter turns of the plane, each as it is
and mirrored.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

G = 8


@keras.saving.register_keras_serializable("trainer")
class EquivariantConv2D(keras.layers.Layer):
    """A convolution that finds each pattern in all eight orientations at once.

    Group-equivariant convolution over p4m (Cohen and Welling 2016, arXiv:1602.07576): where the
    picture turns by 90° or is mirrored, the output does, and its channels change places. What is
    learned upright need not be learned again lying. It has an eighth of Conv2D's weights for the
    same number of channels and multiplications.

    Channels come in G groups: channel g * filters / G + i is pattern i in orientation g. A network
    begins with `lift: true`, has layers that work pixel by pixel and pooling between, and forgets
    where and how a pattern lies with `GlobalMaxPooling2D`, `Reshape: {target_shape: [8, filters /
    8]}`, `GlobalMaxPooling1D`. BatchNormalization treats orientations apart, so that the network is
    free to prefer some; without it the scores of a turned picture are the same.

    Args:
        filters: output channels, a multiple of 8.
        kernel_size: height and width in pixels. With strides an even one, with `same` padding,
            keeps the symmetry exact.
        strides: in pixels.
        padding: `same` or `valid`.
        lift: whether the input is a picture rather than the output of such a layer.
        kernel_initializer: Keras's.
        kernel_regularizer: Keras's.

    Raises: ValueError if filters, or without `lift` the channels of the input, are no multiple of
    8.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int = 3,
        strides: int = 1,
        padding: str = "same",
        lift: bool = False,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        _demand_groups("filters", filters)
        self.filters, self.kernel_size = filters, kernel_size
        self.strides, self.padding, self.lift = strides, padding, lift
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """One orientation's kernel; the others are its pixels and groups in other places."""
        channels = input_shape[-1] or 0
        if not self.lift:
            _demand_groups("channels of the input", channels, ", or lift: true for a picture")
        side, groups = self.kernel_size, 1 if self.lift else G
        self.kernel = self.add_weight(
            name="kernel",
            shape=(side, side, channels, self.filters // G),
            initializer=_AsWide(self.kernel_initializer, self.filters),
            regularizer=self.kernel_regularizer,
        )
        self._rows = np.concatenate([_sources(g, side, groups) for g in range(G)])
        self._split = (side, side, groups, channels // groups)

    def call(self, inputs: Any) -> Any:
        """[N, H, W, C] -> [N, H', W', filters]."""
        side, _, groups, inside = self._split
        rows = ops.reshape(self.kernel, (side * side * groups, inside * self.filters // G))
        placed = ops.take(rows, self._rows, axis=0)
        turned = ops.reshape(placed, (G, side, side, groups * inside, self.filters // G))
        kernel = ops.reshape(
            ops.transpose(turned, (1, 2, 3, 0, 4)), (side, side, groups * inside, self.filters)
        )
        return ops.conv(inputs, kernel, strides=self.strides, padding=self.padding)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """[N, H', W', filters]."""
        cut = self.kernel_size - 1 if self.padding == "valid" else 0
        batch, *sides, _ = input_shape
        out = [None if side is None else -(-(side - cut) // self.strides) for side in sides]
        return (batch, *out, self.filters)

    def get_config(self) -> dict[str, Any]:
        """What the layer is made of again."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "lift": self.lift,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }


class _AsWide(keras.initializers.Initializer):
    """Draws as for a kernel with all filters: the eighth of them alone would get larger weights."""

    def __init__(self, initializer: Any, filters: int) -> None:
        self.initializer, self.filters = initializer, filters

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        whole = self.initializer((*shape[:-1], self.filters), dtype=dtype)
        return whole[..., : shape[-1]]


def _demand_groups(name: str, count: int, hint: str = "") -> None:
    if count % G or count < G:
        raise ValueError(f"{name} {count}: expected a multiple of {G}{hint}")


def _matrix(g: int) -> np.ndarray:
    """Orientation g of the plane: mirrored if g >= 4, then g % 4 quarter turns; int [2, 2]."""
    turn, mirror = np.array([[0, -1], [1, 0]]), np.array([[1, 0], [0, -1]])
    return np.linalg.matrix_power(turn, g % 4) @ np.linalg.matrix_power(mirror, g // 4)


def _sources(g: int, side: int, groups: int) -> np.ndarray:
    """Where the values of the kernel in orientation g come from: for each of its pixels and groups,
    in order, the number of the same in the kernel as it is learned; int [side² groups]."""
    back = np.round(np.linalg.inv(_matrix(g))).astype(int)
    middle = (side - 1) / 2
    pixels = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), -1) - middle
    at = np.round(pixels @ back.T + middle).astype(int).reshape(-1, 2)
    pixel = at[:, 0] * side + at[:, 1]
    if groups == 1:
        return pixel
    known = [_matrix(h).tolist() for h in range(G)]
    group = np.array([known.index((back @ _matrix(h)).tolist()) for h in range(G)])
    return (pixel[:, None] * G + group).reshape(-1)
