"""Loaders that `input.py` compares: functions from a folder of JPEGs to batches without an end.

Each imports what it needs itself, for each runs in a process of its own, those with torch in
another virtual environment. All are asked for uint8 and leave the scaling to the model, as we do.
"""

import itertools
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

BATCH, LOADED, SIZE = 32, 320, 224  # pictures; pixels before and after the crop

LIGHT = [{"RandomResizedCrop": {"size": [SIZE, SIZE]}}, "HorizontalFlip"]

Batches = Iterator[Any]


# --- the bare calls -----------------------------------------------------------------------------


def decoding(folder: Path) -> Batches:
    """cv2 alone, one thread."""
    import cv2
    import numpy as np

    cv2.setNumThreads(1)
    paths = itertools.cycle(shuffled(folder))
    while True:
        for path in itertools.islice(paths, BATCH):
            cv2.imdecode(np.frombuffer(Path(path).read_bytes(), np.uint8), cv2.IMREAD_COLOR_RGB)
        yield None


def augmenting(folder: Path) -> Batches:
    """albumentations alone on decoded pictures, one thread."""
    import cv2

    cv2.setNumThreads(1)
    pipeline = compose()
    pictures = itertools.cycle([cv2.imread(path) for path in shuffled(folder)])
    while True:
        for pixels in itertools.islice(pictures, BATCH):
            pipeline(image=pixels)
        yield None


def compose() -> Any:
    """The two transforms."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    import albumentations

    crop = albumentations.RandomResizedCrop(size=(SIZE, SIZE))
    return albumentations.Compose([crop, albumentations.HorizontalFlip()])


def shuffled(folder: Path) -> list[str]:
    """The files, in an order that mixes the classes."""
    paths = sorted(map(str, folder.rglob("*.jpg")))
    random.Random(0).shuffle(paths)
    return paths


# --- ours ---------------------------------------------------------------------------------------


def ours(folder: Path, **options: Any) -> Batches:
    """Batches of tensors, as `trainer fit` gets them; a cache is filled first."""
    with opened(folder, **options) as feed:
        batches = iter(feed.training)
        for _ in range(len(shuffled(folder)) // BATCH if "cache" in options else 0):
            next(batches)
        yield from batches


@contextmanager
def opened(folder: Path, **options: Any) -> Iterator[Any]:
    """Our input path, with these options of `data`."""
    import numpy as np

    from trainer.config.data import Data, Folder
    from trainer.data import feed
    from trainer.data.pipeline import Faults
    from trainer.data.sources.folder import read
    from trainer.data.split import Sides

    described = {
        "source": {"kind": "folder", "path": str(folder)},
        "image_size": [SIZE, SIZE],
        "batch_size": BATCH,
        "augment": LIGHT,
        "workers": "threads",
    }
    spec = Data.model_validate(described | options)
    examples = read(Folder(kind="folder", path=str(folder)))
    sides = Sides(examples, examples.take(np.arange(1)), examples.take(np.arange(0)))
    with feed.opened(sides, spec, 1, Faults({}, []), folder.parent / "cache") as made:
        yield made


def original(folder: Path) -> Batches:
    """From files."""
    return ours(folder, load_size="original")


def memory(folder: Path) -> Batches:
    """From the cache in memory."""
    return ours(folder, load_size=[LOADED, LOADED], cache="memory")


def disk(folder: Path) -> Batches:
    """From the cache on disk."""
    return ours(folder, load_size=[LOADED, LOADED], cache="disk")


def processes(folder: Path) -> Batches:
    """From files, by two worker processes."""
    return ours(folder, load_size="original", workers=2)


# --- others with TensorFlow ---------------------------------------------------------------------


def naive(folder: Path) -> Batches:
    """tf.data with one numpy_function per picture."""
    import cv2
    import tensorflow as tf

    cv2.setNumThreads(1)
    pipeline = compose()

    def load(path: bytes) -> Any:
        pixels = cv2.cvtColor(cv2.imread(path.decode()), cv2.COLOR_BGR2RGB)
        return pipeline(image=pixels)["image"]

    def mapped(path: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(tf.numpy_function(load, [path], tf.uint8), (SIZE, SIZE, 3))

    return endless(tf.data.Dataset.from_tensor_slices(shuffled(folder)), mapped)


def native(folder: Path) -> Batches:
    """tf.data with TensorFlow's own operations, which decode no more than the crop."""
    import tensorflow as tf

    def load(path: tf.Tensor) -> tf.Tensor:
        content = tf.io.read_file(path)
        begin, size, _ = tf.image.sample_distorted_bounding_box(
            tf.image.extract_jpeg_shape(content),
            tf.zeros([0, 0, 4]),
            area_range=(0.08, 1.0),
            aspect_ratio_range=(3 / 4, 4 / 3),
            use_image_if_no_bounding_boxes=True,
        )
        window = tf.concat([begin[:2], size[:2]], 0)
        pixels = tf.image.decode_and_crop_jpeg(content, window, 3)
        pixels = tf.cast(tf.image.resize(pixels, (SIZE, SIZE)) + 0.5, tf.uint8)
        return tf.ensure_shape(tf.image.random_flip_left_right(pixels), (SIZE, SIZE, 3))

    return endless(tf.data.Dataset.from_tensor_slices(shuffled(folder)), load)


def endless(paths: Any, load: Callable[[Any], Any]) -> Batches:
    """Batches of what is loaded from each path."""
    import tensorflow as tf

    loaded = paths.repeat().map(load, num_parallel_calls=tf.data.AUTOTUNE)
    return iter(loaded.batch(BATCH, drop_remainder=True).prefetch(tf.data.AUTOTUNE))


def keras_layers(folder: Path) -> Batches:
    """Keras's own; it has no RandomResizedCrop, RandomCrop without resizing is less work."""
    import keras
    import tensorflow as tf

    options = {"image_size": (LOADED, LOADED), "batch_size": BATCH, "verbose": False}
    batches = keras.utils.image_dataset_from_directory(str(folder), **options)
    layers = [keras.layers.RandomCrop(SIZE, SIZE), keras.layers.RandomFlip("horizontal")]

    def mapped(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        for layer in layers:
            images = layer(images, training=True)
        return images, labels

    augmented = batches.repeat().map(mapped, num_parallel_calls=tf.data.AUTOTUNE)
    return iter(augmented.prefetch(tf.data.AUTOTUNE))


# --- others with torch --------------------------------------------------------------------------


def torchvision(folder: Path, workers: int = 0) -> Batches:
    """ImageFolder and DataLoader."""
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    steps = [transforms.RandomResizedCrop(SIZE), transforms.RandomHorizontalFlip()]
    data = datasets.ImageFolder(str(folder), transforms.Compose([*steps, transforms.PILToTensor()]))
    stays = workers > 0
    return repeated(DataLoader(data, BATCH, True, num_workers=workers, persistent_workers=stays))


def timm(folder: Path, workers: int = 0) -> Batches:
    """create_loader, before it makes floats of the pictures, which it does on the GPU."""
    import torch
    from timm.data import create_dataset, create_loader

    data = create_dataset("", str(folder))
    options = {"color_jitter": None, "num_workers": workers, "device": torch.device("cpu")}
    return repeated(create_loader(data, (3, SIZE, SIZE), BATCH, True, **options).loader)


def ultralytics(folder: Path, workers: int = 0) -> Batches:
    """ClassificationDataset and build_dataloader, without making floats of the pictures."""
    os.environ |= {"YOLO_CONFIG_DIR": str(folder.parent), "YOLO_OFFLINE": "true"}
    from torchvision.transforms import PILToTensor
    from ultralytics.cfg import get_cfg
    from ultralytics.data import ClassificationDataset, build_dataloader

    spec = get_cfg(overrides={"imgsz": SIZE, "scale": 0.92, "fliplr": 0.5, "auto_augment": None})
    data = ClassificationDataset(str(folder), spec, augment=True)
    data.torch_transforms.transforms[2:] = [PILToTensor()]  # after the crop and the flip
    return repeated(build_dataloader(data, BATCH, workers, device="cpu"))


def repeated(loader: Any) -> Batches:
    """Epoch after epoch. One thread, as in workers: others would spin for small tensors."""
    import torch

    torch.set_num_threads(1)
    return itertools.chain.from_iterable(itertools.repeat(loader))


BARE = ("cv2, decoding", "albumentations")
LOADERS: dict[str, Callable[[Path], Batches]] = {
    BARE[0]: decoding,
    BARE[1]: augmenting,
    "trainer, threads": original,
    "trainer, 2 processes": processes,
    "trainer, memory cache": memory,
    "trainer, disk cache": disk,
    "tf.data, own operations": native,
    "tf.data, call per picture": naive,
    "Keras, crop and flip": keras_layers,
    "torchvision": torchvision,
    "torchvision, 2 workers": partial(torchvision, workers=2),
    "timm": timm,
    "timm, 2 workers": partial(timm, workers=2),
    "ultralytics": ultralytics,
    "ultralytics, 2 workers": partial(ultralytics, workers=2),
}
TORCH = ("torchvision", "timm", "ultralytics")
