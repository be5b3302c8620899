"""OpenVINO, by its own runtime; an extra."""

from pathlib import Path

import numpy as np

from trainer.config import about
from trainer.errors import UserError
from trainer.parts import extra
from trainer.runtimes.opened import Opened

ABOUT = "about"  # as export/openvino.py names its part of the runtime information


def open(path: Path) -> Opened:
    """The folder of `model.xml`; input `image` uint8 [N, H, W, C], output `probabilities`.

    Raises: UserError without the extra, if OpenVINO cannot load it or it does not describe itself.
    """
    core = extra("openvino", "openvino").Core()
    try:
        model = core.read_model(path / "model.xml")
        kept = [key for key in about.About.model_fields if model.has_rt_info([ABOUT, key])]
        texts = {key: model.get_rt_info([ABOUT, key]).astype(str) for key in kept}
    except RuntimeError as error:
        raise _unusable(path, error) from None
    told = about.read(texts, str(path))
    try:
        # Some processors would compute in bfloat16 of their own accord.
        precise = {"INFERENCE_PRECISION_HINT": "f32"}
        compiled = core.compile_model(model, "CPU", precise)
        probabilities = compiled.output("probabilities")
    except RuntimeError as error:
        raise _unusable(path, error) from None

    def scores(images: np.ndarray) -> np.ndarray:
        return compiled({"image": images})[probabilities].copy()  # the memory is used again

    return Opened(told, scores)


def _unusable(path: Path, error: RuntimeError) -> UserError:
    said = [line for line in str(error).splitlines() if line][-1]
    return UserError(str(path), f"OpenVINO cannot load it: {said}")
