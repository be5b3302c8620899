"""ONNX export of networks of keras.applications: time, memory, size, agreement, latency.

    python benchmarks/onnx_export.py [--size 224] [--latency] [NETWORK …]

Each network has fresh processes. It is built with random weights, preprocessing inside and ten
classes, and made to tell pictures apart, since random weights give nearly constant probabilities
that would agree with anything: BatchNormalization takes the statistics of 8 coarse coloured
patterns, LayerScale of ConvNeXt is 0.1 instead of 1e-6, and the logits are shifted and scaled to a
mean of 0 and a standard deviation of 1 over the patterns. Its beta is 1 instead of 0: random deep
networks of ReLUs enlarge every rounding, so that Keras itself is 6e-5 from what ResNet50 gives in
float64, and 7e-6 with that. `spread` is the largest difference of one class's probability between
two patterns, `difference` the largest one between Keras and the file.

The time is that of the export alone, on an imported TensorFlow, by the clock and of the processor;
memory is the peak of the process that builds the network, loads its weights and exports it. With
--latency the file of Keras's own `model.export(format="onnx")` is timed as well: one picture,
onnxruntime, both in turns, the medians of the times and of the ratios of such pairs.
"""

import argparse
import json
import operator
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FAMILIES = (
    "ConvNeXtTiny",
    "DenseNet121",
    "EfficientNetB0",
    "EfficientNetV2B0",
    "InceptionResNetV2",
    "InceptionV3",
    "MobileNet",
    "MobileNetV2",
    "MobileNetV3Small",
    "NASNetMobile",
    "ResNet50",
    "ResNet50V2",
    "VGG16",
    "VGG19",
    "Xception",
)
PATTERNS, RUNS = 8, 200
LABELS = tuple(f"class_{number}" for number in range(10))
TOO_LARGE = ("VGG16", "VGG19")  # for the stock export at 24 GB
LIMITS = {"VGG16": 4.5, "ResNet50": 1.5}  # GB
SECONDS = {"VGG16": 60}
COLUMNS = (
    f"{'network':18} {'export, s':>10} {'CPU, s':>7} {'peak, GB':>9} {'file, MB':>9} {'spread':>7}"
)


def patterns(count: int, size: int, seed: int = 0) -> Any:
    """uint8 [count, size, size, 3]: 5 x 5 random colours, enlarged, of random contrast."""
    import cv2
    import numpy as np

    random = np.random.default_rng(seed)
    coarse = 128 + random.uniform(-128, 128, (count, 5, 5, 3)) * random.uniform(
        0.2, 1, (count, 1, 1, 1)
    )
    whole = [cv2.resize(each, (size, size), interpolation=cv2.INTER_CUBIC) for each in coarse]
    noise = random.normal(0, 8, (count, size, size, 3))
    return np.clip(np.stack(whole) + noise, 0, 255).astype(np.uint8)


def built(name: str, size: int) -> Any:
    """The network with ten classes, not yet changed."""
    import keras

    from trainer.config.base import Call
    from trainer.config.model import Backbone
    from trainer.model import network

    keras.utils.set_random_seed(1)
    wide = {"Dense": {"units": 4096, "activation": "relu"}}  # as VGG was published: 134 million
    body = ("Flatten", wide, wide) if name in TOO_LARGE else ("GlobalAveragePooling2D",)
    head = (*body, {"Dense": {"units": "$classes", "activation": "softmax"}})
    spec = Backbone(
        kind="backbone",
        network=Call.parse(name),
        weights="none",
        head=tuple(Call.parse(each) for each in head),
    )
    return network.build(spec, (size, size, 3), LABELS)


def prepare(name: str, size: int, folder: Path) -> dict[str, float]:
    """Makes the network's probabilities depend on the picture, and keeps weights, patterns and
    probabilities."""
    import keras
    import numpy as np

    model, images = built(name, size), patterns(PATTERNS, size)
    pixels = images.astype(np.float32)
    norms = [each for each in model.layers if isinstance(each, keras.layers.BatchNormalization)]
    momenta = [each.momentum for each in norms]
    for each in norms:
        each.momentum = 0.0
        each.beta.assign(1 + 0 * each.beta)
    for weight in model.weights:
        if "layer_scale" in weight.path:
            weight.assign(0.1 + 0 * weight)
    if norms:
        model(pixels, training=True)
    for each, momentum in zip(norms, momenta, strict=True):
        each.momentum = momentum
    head = model.layers[-1]
    features = _batched(keras.Model(model.input, head.input), pixels)
    head.kernel.assign(head.kernel / (features @ head.kernel).std(axis=0))
    head.bias.assign(-(features @ head.kernel).mean(axis=0))
    model.save_weights(folder / "it.weights.h5")
    np.savez(folder / "it.npz", images=images, expected=_batched(model, pixels))
    return {}


def _batched(model: Any, pixels: Any) -> Any:
    import numpy as np

    return np.concatenate([model(pixels[i : i + 4]) for i in range(0, len(pixels), 4)])


def export(name: str, size: int, folder: Path) -> dict[str, float]:
    """What this tells: the export."""
    import numpy as np

    from trainer.config.about import About
    from trainer.config.export import Onnx
    from trainer.export import onnx
    from trainer.export.material import Material
    from trainer.runtimes import opened

    model = built(name, size)
    model.load_weights(folder / "it.weights.h5")
    about = About(name=name, task="single_label", labels=LABELS, image_size=(size, size))
    path = folder / "model.onnx"
    with np.load(folder / "it.npz") as kept:
        images, expected = kept["images"], kept["expected"]
    start, busy = time.perf_counter(), time.process_time()
    onnx.write(Material(model, about, lambda _: images), Onnx(kind="onnx"), path)
    seconds, busy, peak = time.perf_counter() - start, time.process_time() - busy, _peak()
    difference = np.abs(opened.open(path).scores(images) - expected).max()
    return {
        "seconds": seconds,
        "busy": busy,
        "peak": peak,
        "bytes": sum(each.stat().st_size for each in folder.glob("model.onnx*")),
        "spread": float(np.ptp(expected, axis=0).max()),
        "difference": float(difference),
    }


def latency(name: str, size: int, folder: Path) -> dict[str, float]:
    """Milliseconds per picture; nothing of the stock file if it cannot be run."""
    import numpy as np
    import onnxruntime

    with np.load(folder / "it.npz") as kept:
        whole = kept["images"][:1]
    pixels = whole.astype(np.float32)
    # Threads that wait by spinning take the processor from the other file's turn.
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    cpu = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=cpu)
    runs: dict[str, Callable[[], object]] = {}
    runs["ours"] = lambda: session.run(["probabilities"], {"image": whole})
    try:
        model = built(name, size)
        model.load_weights(folder / "it.weights.h5")
        model(pixels)
        model.export(folder / "stock.onnx", format="onnx", verbose=False)
        file = str(folder / "stock.onnx")
        other = onnxruntime.InferenceSession(file, options, providers=cpu)
        [image] = other.get_inputs()
        other.run(None, {image.name: pixels})
        runs["stock"] = lambda: other.run(None, {image.name: pixels})
    except Exception as error:
        sys.stderr.write(f"stock: {error}\n")
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(RUNS):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            taken[name].append(1000 * (time.perf_counter() - start))
    found = {name: statistics.median(values) for name, values in taken.items()}
    if "stock" in taken:  # calls that follow each other: the machine was the same
        found["ratio"] = statistics.median(map(operator.truediv, taken["ours"], taken["stock"]))
    return found


def _peak() -> float:
    """Bytes that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def _row(name: str, size: int, steps: list[str]) -> dict[str, float] | str:
    """Each step in a fresh process; or the last line that one wrote which failed."""
    row: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for step in steps:
            command = [sys.executable, __file__, "--size", str(size), "--step", step]
            ended = subprocess.run(
                [*command, "--folder", folder, name], capture_output=True, text=True
            )
            if ended.returncode:
                last = ended.stderr.strip().splitlines()[-1:]
                return f"{step}: {last[0] if last else ended.returncode}"
            row |= json.loads(ended.stdout.splitlines()[-1])
    return row


def main() -> None:
    """Prints a line per network; * where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=FAMILIES)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--latency", action="store_true")
    parser.add_argument("--step", choices=("prepare", "export", "latency"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        step = {"prepare": prepare, "export": export, "latency": latency}[given.step]
        print(json.dumps(step(given.networks[0], given.size, given.folder)))
        return
    more = f" {'ours, ms':>9} {'stock, ms':>10} {'ratio':>6}" if given.latency else ""
    print(f"{COLUMNS} {'difference':>11}{more}")
    for name in given.networks:
        timed = given.latency and name not in TOO_LARGE
        row = _row(name, given.size, ["prepare", "export"] + ["latency"] * timed)
        print(row if isinstance(row, str) else _line(name, row), flush=True)


def _line(name: str, row: dict[str, float]) -> str:
    missed = (
        row["difference"] > 1e-5
        or row["peak"] > LIMITS.get(name, 99) * 1e9
        or row["seconds"] > SECONDS.get(name, 1e9)
    )
    line = (
        f"{name:18} {row['seconds']:10.1f} {row['busy']:7.1f} {row['peak'] / 1e9:9.2f} "
        f"{row['bytes'] / 1e6:9.1f} {row['spread']:7.3f} {row['difference']:11.1e}"
    )
    if "ours" in row:
        stock = f"{row['stock']:10.2f} {row['ratio']:6.3f}" if "stock" in row else f"{'fails':>10}"
        line += f" {row['ours']:9.2f} {stock}"
    return line + (" *" if missed else "")


if __name__ == "__main__":
    main()
