"""What a hand wears: now and then a ring, and the cloth of its sleeve."""

import numpy as np

from trainer.data.hands.flesh import SLEEVE, Limb
from trainer.data.hands.skin import Material, linear, noise
from trainer.data.hands.surface import Surface

_METALS = np.array(((0.75, 0.55, 0.2), (0.7, 0.7, 0.72), (0.65, 0.4, 0.3)), np.float32)


def put_on(
    material: Material, surface: Surface, limbs: list[Limb], draw: np.random.Generator
) -> None:
    """Paint over the skin, in place."""
    if draw.random() < 0.12:
        _ring(material, surface, limbs, draw)
    cloth = surface.of([limb.part == SLEEVE for limb in limbs])
    if cloth.any():
        _cloth(material, surface, cloth, draw)


def _ring(
    material: Material, surface: Surface, limbs: list[Limb], draw: np.random.Generator
) -> None:
    """Of gold, silver or copper, on the first phalanx of a finger but the index finger."""
    bone = 3 * int(draw.choice([1, 2, 2, 3]))
    finger = surface.of([limb.bone == bone and limb.joints for limb in limbs])
    band = finger & (np.abs(surface.along - 0.45) < draw.uniform(0.05, 0.11))
    material.colour[:, band] = _METALS[draw.integers(len(_METALS))][:, None]
    material.gloss[band] = 0.9
    material.height[band] += 0.02 * surface.unit


def _cloth(
    material: Material, surface: Surface, cloth: np.ndarray, draw: np.random.Generator
) -> None:
    """Of one colour or striped, with folds and a weave."""
    colours = linear(draw.uniform(5, 250, (2, 3)))
    if draw.random() < 0.5:
        colours[:] = linear(draw.uniform(5, 245, (2, 1)))  # black, grey, white
    stripes = np.sin(surface.along[cloth] * draw.uniform(60, 500)) > draw.uniform(-1, 1)
    if draw.random() < 0.7:
        stripes[:] = False
    material.colour[:, cloth] = colours[stripes.astype(int)].T
    folds = draw.uniform(0, 0.03) * noise(cloth.shape, surface.unit / draw.uniform(4, 9), draw)
    weave = draw.uniform(0, 0.006) * noise(cloth.shape, 1.5, draw)
    material.height[cloth] += surface.unit * (folds + weave)[cloth]
    material.gloss[cloth] = 0.01
