"""Columns of the table in which runs compare."""

from trainer.board import hparams


def test_leaves_are_paths_as_set_takes_them() -> None:
    plain = {
        "seed": 3,
        "data": {
            "image_size": (96, 128),
            "augment": ["HorizontalFlip", {"Affine": {"rotate": [-9, 9]}}],
            "mix": None,
            "callbacks": [],
        },
        "training": {"optimizer": {"AdamW": {"learning_rate": 0.001, "use_ema": True}}},
    }
    assert dict(hparams.leaves(plain)) == {
        "seed": 3,
        "data.image_size": "96x128",
        "data.augment": "HorizontalFlip, Affine",
        "training.optimizer.AdamW.learning_rate": 0.001,
        "training.optimizer.AdamW.use_ema": True,
    }
