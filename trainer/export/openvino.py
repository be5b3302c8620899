"""`kind: openvino`: OpenVINO's own format, made of what is written for ONNX."""

import tempfile
from pathlib import Path

from trainer.config.export import Onnx, OpenVino
from trainer.export import onnx
from trainer.export.material import Material
from trainer.parts import extra

ABOUT = "about"  # our part of the runtime information; runtimes/openvino.py reads it


def write(material: Material, spec: OpenVino, path: Path) -> None:
    """A folder of `model.xml` and `model.bin`: input `image` uint8 [N, H, W, C], 0 to 255; outputs
    `probabilities` float32 [N, K] and `label_index` int64 [N]. What the file says of itself is the
    runtime information `about` of its model.

    Raises: UserError without the extra `openvino`.
    """
    openvino = extra("openvino", "openvino")
    with tempfile.TemporaryDirectory() as folder:
        between = Path(folder, "model.onnx")
        onnx.write(material, Onnx(kind="onnx"), between)
        model = openvino.Core().read_model(between)  # convert_model would report its use, too
        for key, value in material.about.written().items():
            model.set_rt_info(value, [ABOUT, key])
        path.mkdir()
        openvino.save_model(model, path / "model.xml", compress_to_fp16=False)
