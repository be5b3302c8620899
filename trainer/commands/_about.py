"""What a run says of itself: what its exported files say, and what prediction goes by."""

import hashlib
import json

from trainer import __version__
from trainer.commands import _confidence
from trainer.commands._restore import Trained
from trainer.config.about import About
from trainer.run import Run


def about(run: Run, trained: Trained) -> About:
    """Of the run's best epoch."""
    data, several = trained.config.data, trained.multi_label
    kept = _confidence.read(run)
    thresholds = _confidence.thresholds(run, trained.config, len(trained.classes))
    return About(
        name=trained.config.name,
        task="multi_label" if several else "single_label",
        labels=trained.classes,
        thresholds=thresholds if several else (),
        temperature=kept.temperature if kept.applied else 1.0,
        reject=kept.reject["probability"] if kept.reject else 0.0,
        metrics=_metrics(run),
        config_sha256=hashlib.sha256(run.config.read_bytes()).hexdigest(),
        trainer=__version__,
        image_size=data.image_size,
        channels=data.channels,
        fit=data.fit,
        resize=data.resize,
    )


def _metrics(run: Run) -> dict[str, float]:
    """The figures of the whole test split, if it was evaluated."""
    try:
        found = json.loads(run.metrics.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {name: value for name, value in found.items() if isinstance(value, float)}
