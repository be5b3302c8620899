"""`export:` the files that leave the project."""

from typing import Annotated, Literal

from pydantic import Field

from trainer.config.base import Section


class SavedModel(Section):
    """TensorFlow's own format: float images in, probabilities and labels out."""

    kind: Literal["saved_model"]
    tolerance: float = Field(default=1e-5, gt=0)  # largest difference of a probability from Keras


class Onnx(Section):
    """ONNX: a batch of any size in, probabilities and the index of the label out."""

    kind: Literal["onnx"]
    input: Literal["uint8", "float32"] = "uint8"
    opset: int = Field(default=18, ge=13, le=18)  # what tf2onnx 1.17 can write
    tolerance: float = Field(default=1e-5, gt=0)


Export = Annotated[SavedModel | Onnx, Field(discriminator="kind")]
