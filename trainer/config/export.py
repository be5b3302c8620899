"""`export:` the files that leave the project."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from trainer.config.base import Section


class Exported(Section):
    """What all kinds have."""

    name: ClassVar[str]
    tolerance: float = Field(default=1e-5, gt=0)  # largest difference of a probability from Keras

    @property
    def file(self) -> str:
        """What lies in the run's `export/`."""
        return self.name


class SavedModel(Exported):
    """TensorFlow's own format: float images in, probabilities and labels out."""

    name = "saved_model"
    kind: Literal["saved_model"]


class Onnx(Exported):
    """ONNX: a batch of any size in, probabilities and the index of the label out."""

    name = "model.onnx"
    kind: Literal["onnx"]
    input: Literal["uint8", "float32"] = "uint8"
    opset: int = Field(default=18, ge=13, le=18)  # what tf2onnx 1.17 can write


Export = Annotated[SavedModel | Onnx, Field(discriminator="kind")]
