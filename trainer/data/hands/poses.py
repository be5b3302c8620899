"""Poses around paper, rock and scissors, as people show them."""

import numpy as np

from trainer.data.hands.skeleton import Finger, Pose, Thumb, within

CLASSES = ("paper", "rock", "scissors")

_FAN = np.array((1.0, 0.25, -0.45, -1.15))  # share of each finger in the spread

# Thumbs found by a search for angles that bring joints and pad to places on the hand.
_BESIDE = Thumb(28, 3, 78, 14, 10)  # along the palm
_AWAY = Thumb(46, 10, 55, -6, 2)
_OVER_INDEX = Thumb(30, 28, 64, 34, 69)  # across bent fingers
_OVER_RING = Thumb(13, 37, 82, 39, 54)
_ALONG = Thumb(36, 19, 92, 32, 10)  # on the side of a bent index finger
_INSIDE = Thumb(22, 24, 80, 52, 50)  # across the palm

_USUAL = 0.6  # of the plain hands hold the thumb as hands of their class mostly do

# What the thumb does, and how often; the first is the usual way.
_THUMBS = {
    "paper": ((_AWAY, 0.55), (_BESIDE, 0.35), (_INSIDE, 0.1)),
    "rock": (
        (_OVER_INDEX, 0.35),
        (_OVER_RING, 0.1),
        (_ALONG, 0.25),
        (_AWAY, 0.25),
        (_INSIDE, 0.05),
    ),
    "scissors": ((_OVER_RING, 0.4), (_BESIDE, 0.1), (_INSIDE, 0.15), (_AWAY, 0.35)),
}


def sample(label: str, plain: bool, draw: np.random.Generator) -> Pose:
    """A pose of the class: tight or loose, spread or closed, the thumb where people put it.

    Args:
        plain: straight fingers are straight and mostly apart, the thumb where it usually is.
    """
    kinds, shares = zip(*_THUMBS[label], strict=True)
    kind = kinds[draw.choice(len(kinds), p=shares)]
    if plain and draw.random() < _USUAL:
        kind = kinds[0]
    stretched = {"paper": 4, "rock": 0, "scissors": 2}[label]
    straight = _straight(label, plain, draw)
    bent = _bent(0.35 if kind in (_OVER_INDEX, _OVER_RING) else 1.0, draw)
    fingers = tuple(straight[:stretched]) + tuple(bent[stretched - 4 :] if stretched < 4 else ())
    return within(Pose(fingers, _thumb(kind, draw)))


def _thumb(kind: Thumb, draw: np.random.Generator) -> Thumb:
    """Something between this thumb and its neighbours."""
    mean = np.array(kind, float)
    if kind == _AWAY:
        mean = mean + draw.uniform() * (np.array(_BESIDE) - mean) * 0.7
        mean[0] += draw.uniform(-8, 12)
        mean[4] += draw.choice([0, -10, 15])
    return Thumb(*(mean + draw.normal(0, (4, 4, 6, 5, 6))))


def _straight(label: str, plain: bool, draw: np.random.Generator) -> list[Finger]:
    """Four stretched fingers, together or spread, stiff or at ease."""
    least, most = (-1, 17) if label == "paper" else (5, 30)
    if plain and draw.random() < 0.8:
        least += 8
    elif label == "scissors" and draw.random() < 0.2:
        least, most = 0, 5  # closed blades
    spread = draw.uniform(least, most)
    ease = draw.uniform(0, 0.5 if plain else 1) ** 2
    found = []
    for share in _FAN:
        asides = spread * share + draw.normal(0, 1.5)
        knuckle = draw.normal(2 + 12 * ease, 4 + 5 * ease)
        middle = abs(draw.normal(3 + 16 * ease, 4 + 4 * ease))
        found.append(Finger(asides, knuckle, middle, 0.6 * middle + draw.normal(0, 3)))
    return found


def _bent(most: float, draw: np.random.Generator) -> list[Finger]:
    """Four bent fingers, from tight (0) to as loose as `most`, 1 at most."""
    loose = most * draw.random() ** 1.6
    bend, apart = draw.normal(0, 4, 2), draw.uniform(0, 14)
    found = []
    for number in range(4):
        # A loose fist opens at the knuckles first, the index finger and the little one most.
        own = np.clip(loose + draw.normal(0, 0.15), 0, 0.9)
        knuckle = 80 - 58 * own + bend[0] + draw.normal(0, 4)
        middle = 105 - 22 * own + bend[1] + draw.normal(0, 4)
        end = 66 - 32 * own + draw.normal(0, 6)
        together = (-3, 0, 2, 4)[number]
        aside = together + own * (apart * _FAN[number] - 2 * together) + draw.normal(0, 1.5)
        found.append(Finger(aside, knuckle, middle, end))
    return found
