"""The SavedModel's `serve_bytes` against what `trainer predict` computes, on files as they are.

    TRAINER_DATA=… python benchmarks/serving_bytes.py RUN [--all] [--pictures 500]

RUN is a run of photographs; the files are TRAINER_DATA/flowers/*/*.jpg. Each goes through
`data.decode` and Keras, and as it is through the exported SavedModel. Printed are by how many grey
levels the pixels differ at most and how many do at all, the largest difference of a probability,
and how many labels are the same. With --all also for the ways to fit and resize that the run does
not use, with the same network.
"""

import argparse
import itertools
import os
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from trainer import run as runs
from trainer.commands._about import about
from trainer.commands._restore import restore
from trainer.config.about import About
from trainer.config.export import SavedModel
from trainer.data import decode
from trainer.export import _picture, saved_model
from trainer.export.material import Material

BATCH = 25


def main() -> None:
    """A line per way to fit and resize."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--pictures", type=int, default=500)
    given = parser.parse_args()
    paths = sorted(Path(os.environ.get("TRAINER_DATA", "."), "flowers").glob("*/*.jpg"))
    paths = paths[:: max(1, len(paths) // given.pictures)][: given.pictures]
    if not paths:
        raise SystemExit("no photographs: set TRAINER_DATA")
    run = runs.Run(given.run)
    trained = restore(run)
    own = about(run, trained)
    ways = [(own.fit, own.resize)]
    if given.all:
        every = itertools.product(("stretch", "crop", "pad"), ("area", "bilinear"))
        ways += [way for way in every if way not in ways]
    print(f"{len(paths)} pictures, {own.image_size[0]} x {own.image_size[1]} px")
    print("fit      resize    grey levels  pixels that differ  probability  same label")
    for fit, resize in ways:
        told = own.model_copy(update={"fit": fit, "resize": resize})
        print(f"{fit:8} {resize:8}  {compare(trained.model, told, paths)}", flush=True)


def compare(model: object, told: About, paths: list[Path]) -> str:
    """The rest of the line."""
    nothing = np.zeros((0, *told.input_shape), np.uint8)
    graph = tf.function(
        lambda content: _picture.pixels(content, told),
        input_signature=[tf.TensorSpec((), tf.string)],
    )
    levels, differ, count, apart, same = 0, 0, 0, 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "saved_model")
        saved_model.write(
            Material(model, told, lambda _: nothing), SavedModel(kind="saved_model"), target
        )
        loaded = tf.saved_model.load(str(target))
        serve = loaded.signatures["serve_bytes"]
        for start in range(0, len(paths), BATCH):
            files = [path.read_bytes() for path in paths[start : start + BATCH]]
            images = np.stack([decode.present(decode.decode(file), told) for file in files])
            for file, image in zip(files, images, strict=True):
                off = np.abs(graph(file).numpy().astype(int) - image)
                levels = max(levels, int(off.max()))
                differ, count = differ + int((off > 0).sum()), count + off.size
            expected = model(images.astype(np.float32), training=False).numpy()
            answer = serve(image_bytes=tf.constant(files))
            apart = max(apart, float(np.abs(answer["probabilities"] - expected).max()))
            same += int((answer["label_index"].numpy() == expected.argmax(axis=1)).sum())
    return f"{levels:11}  {differ / count:18.1e}  {apart:11.1e}  {same} of {len(paths)}"


if __name__ == "__main__":
    main()
