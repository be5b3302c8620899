"""`data:` where the pictures come from and how they become batches."""

from typing import Annotated, Literal

from pydantic import Field, Strict, model_validator

from trainer.config.base import Pair, Section, Transform


class Folder(Section):
    """One sub-folder per class, or `train/`, `validation/`, `test/` with such sub-folders each."""

    kind: Literal["folder"]
    path: str  # relative to the working directory


class Csv(Section):
    """A table with one picture per row. Columns that are not named here are found by their usual
    names: path, label, split, group; without a label column, the 0/1 columns are labels."""

    kind: Literal["csv"]
    path: str
    folder: str = "."  # where the paths in the table start, seen from the table
    column: str | None = None  # of the paths
    label: str | None = None  # column of the class, or of several with a separator
    labels: Annotated[tuple[str, ...], Strict(False)] | None = None  # 0/1 columns: multi-label
    separator: str | None = None  # between the labels of one cell: multi-label
    split: str | None = None
    group: str | None = None  # column: pictures of one group never part


class Idx(Section):
    """MNIST's own format: a folder with train-images-idx3-ubyte and its like, gzipped or not."""

    kind: Literal["idx"]
    path: str
    classes: Annotated[tuple[str, ...], Strict(False)] | None = None  # names of labels 0, 1, …


class Npz(Section):
    """numpy archives: one with images and labels, or a folder of them."""

    kind: Literal["npz"]
    path: str
    classes: Annotated[tuple[str, ...], Strict(False)] | None = None


class Tfrecord(Section):
    """Shards of tf.train.Example with encoded images."""

    kind: Literal["tfrecord"]
    path: str  # a file, a folder, or a pattern with *; or an address such as gs://bucket/folder
    image: str = "image/encoded"  # feature with the bytes of the file
    label: str = "image/class/label"  # feature with class indices or names; several: multi-label
    name: str | None = None  # feature with what a picture is called; else shard and record
    classes: Annotated[tuple[str, ...], Strict(False)] | None = None


class Tfds(Section):
    """A dataset of TensorFlow Datasets, downloaded on first use (the `tfds` extra)."""

    kind: Literal["tfds"]
    name: str  # such as beans or cifar10:3.0.2
    path: str = "datasets/tfds"
    image: str = "image"
    label: str = "label"


class Video(Section):
    """Frames of videos in class folders; the frames of one video are one group."""

    kind: Literal["video"]
    path: str
    every: int = Field(default=10, ge=1)  # every n-th frame
    frames: str = "datasets/frames"  # where they are kept, a sub-folder per folder of videos


class RenderedHands(Section):
    """Drawings of rock, paper and scissors hands, made on first use: no download."""

    kind: Literal["rendered_hands"]
    path: str = "datasets/rendered_hands"  # a sub-folder is made per combination of the rest
    images_per_class: int = Field(default=280, ge=1)
    size: int = Field(default=200, ge=16, le=4096)  # pixels, height and width
    seed: int = Field(default=1, ge=0, lt=2**32)


Source = Annotated[
    Folder | Csv | Idx | Npz | Tfrecord | Tfds | Video | RenderedHands, Field(discriminator="kind")
]


class Split(Section):
    """Shares of each class that are set aside; the rest is for training."""

    validation: float = Field(default=0.15, gt=0, lt=1)
    test: float = Field(default=0.15, ge=0, lt=1)
    folds: int | None = Field(default=None, ge=2)  # instead of the share for validation
    fold: int = Field(default=0, ge=0)  # which of them validates
    duplicates: Literal["together", "ignore"] = "together"  # together: never on two sides
    keep: str = "auto"  # a split.csv whose pictures stay where they are; auto: of the latest run

    @model_validator(mode="after")
    def _something_is_left(self) -> "Split":
        if self.folds is None and self.validation + self.test >= 1:
            raise ValueError(
                f"validation {self.validation} + test {self.test} leaves nothing to train on"
            )
        if self.folds and self.keep not in ("auto", "none"):
            raise ValueError("keep names one split, but folds make several: leave one of them out")
        if self.fold >= (self.folds or 1):
            raise ValueError(
                f"there is no fold {self.fold}: {self.folds} folds are 0 to {self.folds - 1}"
                if self.folds
                else f"fold {self.fold} needs folds, the number of them"
            )
        return self


class Mix(Section):
    """Pictures of a batch mixed with each other, labels too: a batch draws one of the ways."""

    mixup: float | None = Field(default=None, gt=0, le=1e6)  # alpha of Beta(alpha, alpha)
    cutmix: float | None = Field(default=None, gt=0, le=1e6)
    p: float = Field(default=1.0, gt=0, le=1)  # how often a batch is mixed at all

    @model_validator(mode="after")
    def _one_way(self) -> "Mix":
        if self.mixup is None and self.cutmix is None:
            raise ValueError("expected mixup, cutmix or both, as in {mixup: 0.2, cutmix: 1.0}")
        return self


class Presentation(Section):
    """What a picture becomes before the network sees it; exported files say it of themselves."""

    image_size: Pair  # height, width in pixels
    channels: Literal[1, 3] = 3  # 1: grey
    fit: Literal["stretch", "crop", "pad"] = "stretch"  # what gives when the shape is another
    resize: Literal["area", "bilinear"] = "area"  # area: nothing aliases when pictures shrink

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """H, W, C of a picture as the network sees it."""
        return (*self.image_size, self.channels)

    @model_validator(mode="after")
    def _positive_size(self) -> "Presentation":
        if min(self.image_size) < 1:
            raise ValueError(f"image_size {list(self.image_size)} must be positive pixels")
        return self


class Data(Presentation):
    """The whole section."""

    source: Source
    split: Split = Split()
    quarantine: str = "auto"  # a CSV of pictures to leave out; auto: what `data inspect` wrote
    batch_size: int = Field(default=32, ge=1)  # global: summed over all replicas
    # balanced: every class equally often; {class: weight}: so much more often, 1 if not named
    sampling: Literal["shuffled", "balanced", "sequential"] | dict[str, float] = "shuffled"
    class_weights: Literal["balanced"] | dict[str, float] | None = None
    # height, width before augmentation, which then has to end in image_size: room for crops
    load_size: Pair | Literal["original"] | None = None  # nothing: image_size
    jpeg_scaling: bool = False  # decode training JPEGs at 1/2, 1/4, 1/8 where that is enough
    cache: Literal["off", "memory", "disk"] = "off"  # of decoded pictures, before augmentation
    augment: Annotated[tuple[Transform, ...], Strict(False)] = ()
    augment_warmup: float = Field(default=0.0, ge=0, le=1e6)  # epochs until all are augmented
    mix: Mix | None = None  # after augmentation
    workers: Literal["auto", "threads"] | Annotated[int, Field(ge=1)] = "auto"  # number: processes
    worker_timeout: float = Field(default=300.0, gt=0, le=86400)  # s a batch in a process may take

    @model_validator(mode="after")
    def _room_to_load(self) -> "Data":
        if isinstance(self.load_size, tuple) and min(self.load_size) < 1:
            raise ValueError(f"load_size {list(self.load_size)} must be positive pixels")
        if self.load_size == "original" and self.cache != "off":
            raise ValueError("cache holds pictures of one size: give load_size as [height, width]")
        if self.load_size is not None and self.augment_warmup:
            raise ValueError(
                "augment_warmup leaves pictures as they are loaded, so leave out load_size"
            )
        return self
