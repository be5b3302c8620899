"""`data:` where the pictures come from and how they become batches."""

from typing import Annotated, Literal

from pydantic import Field, Strict, model_validator

from trainer.config.base import Pair, Section, Transform


class Folder(Section):
    """One sub-folder per class, or `train/`, `validation/`, `test/` with such sub-folders each."""

    kind: Literal["folder"]
    path: str  # relative to the working directory


class RenderedHands(Section):
    """Drawings of rock, paper and scissors hands, made on first use: no download."""

    kind: Literal["rendered_hands"]
    path: str = "datasets/rendered_hands"  # a sub-folder is made per combination of the rest
    images_per_class: int = Field(default=280, ge=1)
    size: int = Field(default=200, ge=16)  # pixels, height and width
    seed: int = Field(default=1, ge=0)


Source = Annotated[Folder | RenderedHands, Field(discriminator="kind")]


class Split(Section):
    """Shares of each class that are set aside; the rest is for training."""

    validation: float = Field(default=0.15, gt=0, lt=1)
    test: float = Field(default=0.15, ge=0, lt=1)

    @model_validator(mode="after")
    def _something_is_left(self) -> "Split":
        if self.validation + self.test >= 1:
            raise ValueError(
                f"validation {self.validation} + test {self.test} leaves nothing to train on"
            )
        return self


class Data(Section):
    """The whole section."""

    source: Source
    image_size: Pair  # height, width in pixels
    split: Split = Split()
    batch_size: int = Field(default=32, ge=1)  # global: summed over all replicas
    augment: Annotated[tuple[Transform, ...], Strict(False)] = ()

    @model_validator(mode="after")
    def _positive_size(self) -> "Data":
        if min(self.image_size) < 1:
            raise ValueError(f"image_size {list(self.image_size)} must be positive pixels")
        return self
