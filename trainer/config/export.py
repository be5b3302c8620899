"""`export:` the files that leave the project."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, Strict, model_validator

from trainer.config.base import Section


class Exported(Section):
    """What all kinds have."""

    name: ClassVar[str]  # what lies in the run's `export/`
    tolerance: float | None = Field(default=None, gt=0)  # nothing: what the precision allows

    @property
    def file(self) -> str:
        """Its name in the run's `export/`; two that share one would overwrite each other."""
        return self.name

    @property
    def most(self) -> float | None:
        """The largest difference of a probability from Keras that is agreement; None: any."""
        return self.tolerance or 1e-5

    @property
    def drop(self) -> float | None:
        """By how much the accuracy on validation pictures may be below Keras's; None: not asked."""
        return None


class Rounded(Exported):
    """What kinds have that can compute in fewer bits: another file name for each precision."""

    precision: Literal["float32", "float16", "int8"] = "float32"
    max_drop: float = Field(default=0.01, ge=0, le=1)  # of int8's accuracy
    keep_float: Annotated[tuple[str, ...], Strict(False)] = ()  # layers that int8 leaves in float

    @property
    def file(self) -> str:
        """`model.onnx`, `model_int8.onnx`."""
        stem, _, suffix = self.name.partition(".")
        return self.name if self.precision == "float32" else f"{stem}_{self.precision}.{suffix}"

    @property
    def most(self) -> float | None:
        """Rounded weights give other probabilities: float16 by about a thousandth, int8 by what the
        network makes of it, so that the accuracy decides."""
        return self.tolerance or {"float32": 1e-5, "float16": 1e-2, "int8": None}[self.precision]

    @property
    def drop(self) -> float | None:
        """Only int8 is expected to lose any."""
        return self.max_drop if self.precision == "int8" else None

    @model_validator(mode="after")
    def _int8_alone(self) -> "Rounded":
        if self.keep_float and self.precision != "int8":
            raise ValueError("keep_float leaves layers of int8 in float: write precision: int8")
        return self


class SavedModel(Exported):
    """TensorFlow's own format: images or whole files in, probabilities and labels out."""

    name = "saved_model"
    kind: Literal["saved_model"]


class Onnx(Rounded):
    """ONNX: a batch of any size in, probabilities and the index of the label out."""

    name = "model.onnx"
    kind: Literal["onnx"]
    input: Literal["uint8", "float32"] = "uint8"
    opset: int = Field(default=18, ge=13, le=25)  # above 18 converted by onnx; 25 is onnxruntime's


class TfLite(Rounded):
    """TensorFlow Lite, for phones and small machines: the one input is float32, of int8 uint8."""

    name = "model.tflite"
    kind: Literal["tflite"]


class OpenVino(Exported):
    """OpenVINO's own format, for processors of Intel (the extra `openvino`)."""

    name = "openvino"
    kind: Literal["openvino"]


class Keras(Exported):
    """The network alone, as Keras saves it: for whoever goes on with Keras."""

    name = "model.keras"
    kind: Literal["keras"]


class Web(Exported):
    """A page for any static file server: the network runs in the browser, by onnxruntime-web."""

    name = "web"
    kind: Literal["web"]
    runtime: str | None = None  # folder of the npm package onnxruntime-web; nothing: npm brings it


Export = Annotated[SavedModel | Onnx | TfLite | OpenVino | Keras | Web, Field(discriminator="kind")]
