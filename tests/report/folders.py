"""Folders of runs as fit, evaluate and export leave them, without any of the three."""

import json
from pathlib import Path
from typing import Any

from trainer.report.found import Found, read
from trainer.run import Run

CLASSES = ("cat", "<b>dog</b>")
# Of the test split: 3 of 4 cats and 1 of 2 dogs are found.
PREDICTIONS = """\
path,truth,label,probability,cat,<b>dog</b>
cat/0.png,cat,cat,0.9,0.9,0.1
cat/1.png,cat,cat,0.8,0.8,0.2
cat/2.png,cat,cat,0.7,0.7,0.3
cat/3.png,cat,<b>dog</b>,0.6,0.4,0.6
dog/<0>.png,<b>dog</b>,<b>dog</b>,0.8,0.2,0.8
dog/1.png,<b>dog</b>,cat,0.95,0.95,0.05
"""
METRICS: dict[str, Any] = {
    "split": "test",
    "examples": 6,
    "accuracy": 4 / 6,
    "balanced_accuracy": 0.625,
    "calibration_error": 0.2,
    "micro_f1": 0.5,
    "size_mb": 0.25,
    "intervals": {"accuracy": [0.5, 1.0]},
    "classes": {
        "cat": {"precision": 0.75, "recall": 0.75, "f1": 0.75, "support": 4, "roc_auc": None},
        "<b>dog</b>": {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2, "roc_auc": 0.7},
    },
    "confusion": [[3, 1], [1, 1]],
    "slices": {"camera": {"old": {"examples": 6, "accuracy": 4 / 6, "macro_f1": 0.625}}},
    "confidence": {
        "temperature": 2.0,
        "applied": False,
        "calibration_error": {"without": 0.2, "with": 0.1},
    },
    "unreadable": ["cat/broken.png"],
}
GATES = [
    {"name": "accuracy", "bound": "at least", "wanted": 0.6, "found": 4 / 6, "passed": True},
    {"name": "latency_ms", "bound": "at most", "wanted": 5.0, "found": 7.25, "passed": False},
]
ASKED = {"accuracy": 0.6, "latency_ms": 5.0}  # of the config
PARITY = [
    {
        "kind": "onnx",
        "file": "runs/pets/1/export/model.onnx",
        "bytes": 2048,
        "images": 6,
        "largest_difference": 1.2e-6,
        "same_label": 6,
        "accuracy": 0.5,
        "accuracy_of_keras": 0.5,
        "tolerance": 1e-5,
        "agrees": True,
    },
    {"kind": "tflite", "file": "m.tflite", "bytes": 9, "reason": "no <scores>", "agrees": False},
]


def trained(folder: Path) -> Run:
    """A run of which only the training is done."""
    run = Run(folder)
    folder.mkdir(parents=True)
    run.config.write_text("name: pets # <script>\n")
    run.classes.write_text("".join(f"{name}\n" for name in CLASSES))
    pictures = {"train": 2, "validation": 1, "test": 6}
    left_out = {"dog/x.png": "quarantine: a <copy>"}
    task = {"task": "single_label", "pictures": pictures, "left_out": left_out}
    run.data.write_text(json.dumps(task))
    rows = ["cat/a.png,cat,train", "dog/a.png,<b>dog</b>,train", "cat/b.png,cat,validation"]
    rows += [f"cat/{number}.png,cat,test" for number in range(4)]
    rows += ["dog/<0>.png,<b>dog</b>,test", "dog/1.png,<b>dog</b>,test"]
    run.split.write_text("\n".join(["path,label,split", *rows, ""]))
    run.history.write_text("epoch,loss,val_loss,learning_rate\n1,2.0,1.5,0.1\n2,1.0,,0.1\n")
    run.timing.write_text("epoch,images_per_second,input_wait,step_ms\n1,100.0,0.02,10.0\n")
    run.environment.write_text(
        json.dumps({"trainer": "1", "python": "3", "packages": {"keras": "3"}})
    )
    return run


def evaluated(folder: Path, metrics: dict[str, Any] = METRICS) -> Run:
    """And evaluated, judged and exported."""
    run = trained(folder)
    place = run.evaluated("test")
    place.metrics.write_text(json.dumps(metrics))
    place.predictions.write_text(PREDICTIONS)
    place.gates.write_text(json.dumps(GATES))
    kept = {"temperature": 2.0, "applied": False, "thresholds": None, "reject": None}
    run.confidence.write_text(json.dumps(kept))
    run.export.mkdir()
    run.parity.write_text(json.dumps(PARITY))
    return run


def found(folder: Path, **changes: Any) -> Found:
    """What is read of an evaluated run, with other values in it."""
    return read(evaluated(folder), "pets", ASKED)._replace(**changes)
