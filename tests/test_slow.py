"""The promises that take minutes: `make test-slow`."""

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest

from tests.conftest import Outcome

ROOT = Path(__file__).parent.parent
DATA = os.environ.get("TRAINER_DATA")  # a folder with rps/train/<class>/*.jpg

pytestmark = pytest.mark.slow


def accuracy() -> float:
    return json.loads(Path("runs/rps/latest/metrics.json").read_text())["accuracy"]


def test_rps_learns_the_drawn_hands(workplace: Path, trainer: Callable[..., Outcome]) -> None:
    assert trainer("fit", ROOT / "configs" / "rps.yaml").code == 0
    assert accuracy() >= 0.9  # 0.95 to 0.99 by seed and number of cores


@pytest.mark.skipif(DATA is None, reason="TRAINER_DATA names no folder")
def test_rps_learns_real_pictures_and_its_onnx_file_agrees_on_all(
    workplace: Path, trainer: Callable[..., Outcome]
) -> None:
    pictures = Path(str(DATA)) / "rps" / "train"
    source = ["--set", "data.source.kind=folder", "--set", f"data.source.path={pictures}"]
    assert trainer("fit", ROOT / "configs" / "rps.yaml", *source).code == 0
    assert accuracy() >= 0.95
    assert trainer("export").code == 0
    assert trainer("predict", pictures, "--out", "labels.csv").code == 0
    session = onnxruntime.InferenceSession("runs/rps/latest/export/model.onnx")
    facts = session.get_modelmeta().custom_metadata_map
    labels, (height, width) = json.loads(facts["labels"]), json.loads(facts["image_size"])
    rows = list(csv.DictReader(Path("labels.csv").open()))
    assert len(rows) == len(list(pictures.rglob("*.jpg")))
    for row in rows:
        pixels = cv2.imread(row["path"], cv2.IMREAD_COLOR_RGB)
        image = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
        scores_NK, index_N = session.run(None, {"image": image[None]})
        assert labels[index_N[0]] == row["label"]
        assert np.abs(scores_NK[0] - [float(row[name]) for name in labels]).max() < 1e-5
