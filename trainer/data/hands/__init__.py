"""Drawn pictures of hands that show rock, paper or scissors.

They let a newcomer without pictures or a network train a first model. A hand is a skeleton
(`skeleton`) in a pose (`poses`) with flesh around it (`flesh`), seen by a camera (`view`); its
surface (`surface`) gets skin (`skin`), clothes (`clothes`) and light (`light`), and is laid on a
ground (`scene`).
"""

import numpy as np

from trainer.data.hands import clothes, flesh, light, poses, scene, skeleton, skin, surface, view
from trainer.data.hands.poses import CLASSES

__all__ = ["CLASSES", "draw"]

_PLAIN = 0.75  # of the pictures are easy, so that learning begins


def draw(label: str, generator: np.random.Generator, size: int) -> np.ndarray:
    """Draw one hand.

    Args:
        label: what the hand shows, one of `CLASSES`.
        generator: the only source of chance; the same state gives the same bytes.
        size: width and height in pixels, at least 16.

    Returns:
        RGB image, uint8 [size, size, 3], 0 to 255.

    Raises:
        ValueError: `label` is not in `CLASSES`, or `size` is below 16.
    """
    if label not in CLASSES:
        raise ValueError(f"label must be one of {CLASSES}, got {label!r}")
    if size < 16:
        raise ValueError(f"size must be at least 16, got {size}")
    plain = bool(generator.random() < _PLAIN)
    shape = flesh.sample(generator)
    chains = skeleton.bones(poses.sample(label, plain, generator), shape.length)
    limbs = flesh.limbs(chains, shape)
    camera = view.sample(label, limbs, size, plain, generator)
    seen = surface.trace(limbs, camera, size)
    lamp = light.sample(plain, generator)
    picture = scene.ground(size, plain, generator)
    cover = np.zeros((size, size), np.float32)
    cover[seen.window] = seen.cover
    if generator.random() < 0.6:
        picture *= scene.cast(cover, lamp.direction, camera.scale, generator)
    material = skin.paint(seen, limbs, chains, camera, generator)
    clothes.put_on(material, seen, limbs, generator)
    hand = light.shade(seen, material, lamp)
    under = picture[seen.window]
    under += seen.cover[..., None] * (hand - under)
    return scene.photograph(picture, plain, generator)
