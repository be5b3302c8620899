"""How well a run that was trained on renders of hands reads pictures of another origin.

    TRAINER_DATA=… python benchmarks/generalise.py RUN … [--renders FOLDER] [--pictures 600]
        [--show sheet.png]

No photographs of hands are at hand, so four stand-ins are: the renders of the run's own test split,
cut out and laid on photographs (TRAINER_DATA/flowers and scenes_multilabel/images), on plain
colours (a third of them green), and on darkness, each as a camera would take them; and the drawn
hands of `kind: rendered_hands`, whose poses and skin are other ones, and most of whose backgrounds
are. The cutting and placing here shares no code with `trainer.transforms.RandomBackground`. With
several runs the last lines are mean and standard deviation over them.

Of a run that was trained on drawn hands, `--renders FOLDER` takes the renders from there: a folder
per class, of which that run has seen none.
"""

import argparse
import os
import statistics
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from trainer import run as runs
from trainer.commands._restore import restore, sides
from trainer.config.data import Data, Folder, RenderedHands
from trainer.data.decode import load
from trainer.data.examples import Examples
from trainer.parts import part

Ground = Callable[[int, int, np.random.Generator], np.ndarray]  # height, width -> [H, W, 3]

SHAPES = ((240, 320), (200, 300), (320, 240), (270, 480))  # height, width of the camera's picture


def photographs(root: Path) -> Ground:
    """Parts of photographs, drawn anew for each picture."""
    paths = sorted([*root.glob("flowers/*/*.jpg"), *root.glob("scenes_multilabel/images/*.jpg")])
    if not paths:
        raise SystemExit(f"no photographs in {root}: set TRAINER_DATA")

    def ground(height: int, width: int, draw: np.random.Generator) -> np.ndarray:
        photograph = cv2.imread(str(draw.choice(paths)), cv2.IMREAD_COLOR_RGB)
        high, wide = photograph.shape[:2]
        part = draw.uniform(0.4, 1)
        high, wide = int(high * part), int(wide * part)
        top, left = (
            int(draw.integers(0, photograph.shape[axis] - side + 1))
            for axis, side in enumerate((high, wide))
        )
        piece = photograph[top : top + high, left : left + wide]
        return np.float32(cv2.resize(piece, (width, height), interpolation=cv2.INTER_LINEAR))

    return ground


def plain(height: int, width: int, draw: np.random.Generator) -> np.ndarray:
    """A sheet of one strong colour, unequally lit; every third is green."""
    hue = draw.uniform(45, 75) if draw.random() < 1 / 3 else draw.uniform(0, 180)
    colour = np.uint8([[[hue, draw.uniform(120, 255), draw.uniform(80, 240)]]])
    light = cv2.resize(np.float32(draw.uniform(0.75, 1.15, (2, 2))), (width, height))
    return light[..., None] * np.float32(cv2.cvtColor(colour, cv2.COLOR_HSV2RGB))


def dark(height: int, width: int, draw: np.random.Generator) -> np.ndarray:
    """Nearly black, with a little of some colour."""
    light = cv2.resize(np.float32(draw.uniform(0.4, 1.2, (3, 3))), (width, height))
    return light[..., None] * np.float32(draw.uniform(5, 60, 3))


def hand_of(render: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The hand of a render on white: its colours and its cover, 0 to 1, float32 [H, W].

    A pixel is hand where it is coloured (HSV saturation) or dark; all within the outline of the
    largest piece is hand but what is clearly white.
    """
    _, saturation, value = cv2.split(cv2.cvtColor(render, cv2.COLOR_RGB2HSV))
    mask = np.uint8((saturation > 16) | (value < 205))
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cover = np.zeros_like(mask)
    cv2.drawContours(cover, [max(outlines, key=cv2.contourArea)], -1, 1, -1)
    cover[(saturation < 4) & (value > 248)] = 0
    cover = cv2.erode(cover, np.ones((3, 3), np.uint8))
    return np.float32(render), cv2.GaussianBlur(np.float32(cover), (3, 3), 0)


def taken(render: np.ndarray, ground: Ground, draw: np.random.Generator) -> np.ndarray:
    """The hand of a render as a camera may see it: uint8 [H, W, 3] of one of SHAPES.

    The arm comes in from one of the four sides, its end beyond the edge of the picture.
    """
    colours, cover = hand_of(render)
    if draw.random() < 0.5:
        colours, cover = colours[:, ::-1], cover[:, ::-1]
    height, width = SHAPES[int(draw.integers(len(SHAPES)))]
    scene = ground(height, width, draw)
    side = int(draw.integers(4))
    angle = 90 * side + draw.uniform(-20, 20)
    rows, columns = np.nonzero(cover > 0.5)
    lowest = rows >= rows.max() - 2
    wrist = float(columns[lowest].mean()), float(rows.max())
    room = width if side % 2 else height
    scale = draw.uniform(0.6, 1.0) * room / max(float(np.ptp(rows)), 100.0)
    matrix = cv2.getRotationMatrix2D(wrist, -angle, scale)
    along = draw.uniform(0.35, 0.65)
    beyond = 0.06 * room
    ends = [
        (along * width, height + beyond),
        (-beyond, along * height),
        (along * width, -beyond),
        (width + beyond, along * height),
    ]
    matrix[:, 2] += np.array(ends[side]) - wrist
    moved = cv2.warpAffine(colours, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    share = cv2.warpAffine(np.ascontiguousarray(cover), matrix, (width, height))[..., None]
    light = cv2.resize(np.float32(draw.uniform(0.6, 1.25, (2, 2))), (width, height))[..., None]
    return camera(scene + share * (moved * light - scene), draw)


def camera(scene: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Colour of the light, blur, gamma, noise and JPEG of an ordinary camera; uint8."""
    picture = np.clip(scene * draw.uniform(0.85, 1.15, 3), 0, 255) / 255
    picture = 255 * np.power(picture, draw.uniform(0.7, 1.5))
    picture = cv2.GaussianBlur(picture, (0, 0), draw.uniform(0.3, 1.8))
    picture += draw.normal(0, draw.uniform(1, 10), picture.shape)
    pixels = np.clip(picture, 0, 255).astype(np.uint8)
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(draw.integers(40, 95))]
    return cv2.imdecode(cv2.imencode(".jpg", pixels, quality)[1], cv2.IMREAD_COLOR)


def pictures_of(
    examples: Examples, spec: Data, count: int, ground: Ground | None
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels uint8 [N, H, W, 3] as the network takes them, and class indices [N]."""
    draw = np.random.default_rng(0)
    chosen = draw.permutation(len(examples))[:count]
    found = []
    for index in chosen:
        content = examples.pictures.content(int(index))
        if ground:
            render = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
            content = cv2.imencode(".png", taken(render, ground, draw)[..., ::-1])[1].tobytes()
        found.append(load(content, spec))
    return np.stack(found), examples.labels[chosen]


def measured(
    place: Path, root: Path, renders: Path | None, count: int, show: Path | None
) -> dict[str, float]:
    """Accuracies of one run, by what it was shown."""
    run = runs.Run(place)
    trained = restore(run)
    spec = trained.config.data
    if renders:
        test = part("data.sources", "folder").read(Folder(kind="folder", path=str(renders)))
    else:
        test = sides(run, trained).test
    drawn = part("data.sources", "rendered_hands").read(
        RenderedHands(kind="rendered_hands", images_per_class=200, size=160)
    )
    shown: dict[str, tuple[Examples, Ground | None]] = {
        "renders": (test, None),
        "on photographs": (test, photographs(root)),
        "on plain colours": (test, plain),
        "in the dark": (test, dark),
        "drawn hands": (drawn, None),
    }
    found = {}
    for name, (examples, ground) in shown.items():
        pixels, labels = pictures_of(examples, spec, count, ground)
        scores = trained.model.predict(np.float32(pixels), batch_size=64, verbose=0)
        found[name] = float((scores.argmax(1) == labels).mean())
        if show:
            rows = [np.hstack(pixels[start : start + 10]) for start in range(0, 40, 10)]
            Image.fromarray(np.vstack(rows)).save(
                show.with_stem(f"{show.stem}-{name.replace(' ', '-')}")
            )
    return found


def main() -> None:
    """Prints a line per run, then mean and spread."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--renders", type=Path, help="instead of the run's own test split")
    parser.add_argument("--pictures", type=int, default=600, help="of each kind")
    parser.add_argument("--show", type=Path, help="where sheets of the pictures go (PNG)")
    options = parser.parse_args()
    root = Path(os.environ.get("TRAINER_DATA", "."))
    found = []
    for place in options.runs:
        found.append(measured(place, root, options.renders, options.pictures, options.show))
        print(place, *(f"{name} {value:.3f}" for name, value in found[-1].items()), sep="  ")
    if len(found) > 1:
        for name in found[0]:
            values = [each[name] for each in found]
            print(f"{name:18} {statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}")


if __name__ == "__main__":
    main()
