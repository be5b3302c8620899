"""`trainer benchmark export`: every file of a run beside Keras."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Outcome
from trainer.commands.benchmark._timed import timed

Trainer = Callable[..., Outcome]


def test_each_size_has_its_share_of_the_time_and_the_first_calls_do_not_count() -> None:
    sizes: list[int] = []

    def scores(images: np.ndarray) -> np.ndarray:
        sizes.append(len(images))
        return images[:, 0, 0, :].astype(np.float32)

    images = np.arange(40, dtype=np.uint8).repeat(4).reshape(40, 1, 2, 2)
    found = timed(scores, images, 0.02)
    assert np.array_equal(found.scores_NK, images[:, 0, 0, :])
    assert sizes[:2] == [32, 8]
    assert set(found.seconds) == {1, 32} == set(sizes[2:])
    for size, taken in found.seconds.items():
        assert 0 < len(taken) < sizes.count(size)
        assert sum(taken[:-1]) < 0.01  # the last one began within the share
    assert len(timed(scores, images[:1], 0.0).seconds[32]) == 1  # one call, however short


def test_a_run_without_exports(workplace: Path, trainer: Trainer) -> None:
    run = workplace / "runs/small/first"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("name: small\n")
    done = trainer("benchmark", "export", "runs/small/first")
    assert (done.code, done.err) == (
        2,
        "error: runs/small/first/export/parity.json: cannot be read: No such file or directory\n"
        "  trainer export runs/small/first writes it\n",
    )


@pytest.fixture
def exported(small: Path, trainer: Trainer) -> Path:
    onnx = ["--set", "export=[{kind: onnx}]", "--set", "training.epochs=1"]
    assert trainer("fit", small, *onnx).code == 0
    assert trainer("export").code == 0
    return Path("runs/small/latest/export")


def test_the_files_stand_beside_keras(exported: Path, trainer: Trainer) -> None:
    listed = json.loads((exported / "parity.json").read_text())
    (exported / "broken.onnx").write_bytes(b"nonsense")
    gone = {"file": "elsewhere/gone.onnx"}
    rows = [*listed, {"file": "elsewhere/broken.onnx"}, gone, {"file": "parity.json"}]
    (exported / "parity.json").write_text(json.dumps(rows))
    done = trainer("benchmark", "export", "--seconds", "0.2", "--json", "found.json")
    assert done.code == 1
    assert done.err.startswith(
        "error: could not be measured: broken.onnx: onnxruntime cannot open it: "
    )
    report = json.loads(Path("found.json").read_text())
    assert (report["seconds"], report["images"]) == (0.2, 6)
    keras, onnx, broken = report["models"]
    assert [row["file"] for row in (keras, onnx, broken)] == ["Keras", "model.onnx", "broken.onnx"]
    assert keras["bytes"] == 4 * (4 * 28 + 14 * 18 * 4 * 3 + 3)  # float32 of Conv2D and Dense
    assert (keras["largest_difference"], keras["same_label"]) == (0, 6)
    assert 0 <= onnx["largest_difference"] <= 1e-5
    assert onnx["bytes"] == (exported / "model.onnx").stat().st_size
    for row in (keras, onnx):
        for size in ("batch_1", "batch_32"):
            assert 0 < row[size]["p50_ms"] <= row[size]["p99_ms"]
        assert row["pictures_per_second"] == pytest.approx(32_000 / row["batch_32"]["p50_ms"])
    assert "p50_ms" not in broken
    assert "written  found.json" in done.out
