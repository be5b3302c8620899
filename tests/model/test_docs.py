"""The examples of docs/model.md are real: each is loaded and built."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.conftest import SMALL
from trainer import objects
from trainer.config.load import load
from trainer.model import network

PAGE = (Path(__file__).parent.parent.parent / "docs" / "model.md").read_text()
EXAMPLES = re.findall(r"^```yaml\n(model:.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
CLASSES = ("paper", "rock", "scissors")


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == len(re.findall("^```yaml", PAGE, re.MULTILINE)) == 7


def built(example: str) -> keras.Model:
    path = Path("example.yaml")
    path.write_text(SMALL[: SMALL.index("model:")] + example + SMALL[SMALL.index("training:") :])
    config = load(path, ["data.image_size=[32, 40]"], check=objects.mistakes)
    return network.build(config.model, config.data.input_shape, CLASSES)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_it_builds(example: str, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(workplace)
    [code] = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    Path("mynets.py").write_text(code)
    scores_NK = np.asarray(built(example)(np.full((2, 32, 40, 3), 128.0)))
    assert np.allclose(scores_NK.sum(axis=1), 1, atol=1e-5)


def test_names_are_as_the_page_says(workplace: Path) -> None:
    [blocks] = [each for each in EXAMPLES if "stage1_block" in each]
    assert "stage1_block2_second_bn" in [layer.name for layer in built(blocks).layers]


def test_drop_path_drops_whole_branches_per_picture(workplace: Path) -> None:
    [example] = [each for each in EXAMPLES if "noise_shape" in each]
    model = built(example)
    [first, _] = [each for each in model.layers if isinstance(each, keras.layers.Dropout)]
    assert first.rate == 0.05
    first.rate = 0.5
    branch = np.ones((64, 4, 4, 2), np.float32)
    dropped = np.asarray(first(branch, training=True)).reshape(64, -1)
    assert (dropped == dropped[:, :1]).all()  # all of a picture, or nothing
    assert set(dropped[:, 0].tolist()) == {0.0, 2.0}  # what is kept is scaled up
    assert 10 < (dropped[:, 0] == 0).sum() < 54
    assert np.array_equal(first(branch, training=False), branch)
