"""What a user reads who got something wrong: the whole text, and exit code 2."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Outcome, draw_pictures

Trainer = Callable[..., Outcome]


def edited(small: Path, old: str, new: str) -> Path:
    text = small.read_text()
    assert text.count(old) == 1
    small.write_text(text.replace(old, new))
    return small


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("batch_size: 5", "batch_sise: 5",
         "small.yaml:6: data.batch_sise: unknown key 'batch_sise'\n  did you mean 'batch_size'?"),
        ("Conv2D", "Conv2d",
         "small.yaml:14: model.layers[1].Conv2d: keras.layers has no 'Conv2d'\n  did you mean 'Conv2D'?"),
        ("kernel_size: 3", "kernel_size: 3, filter: 4",
         "small.yaml:14: model.layers[1].Conv2D.filter: Conv2D has no argument 'filter'\n  did you mean 'filters'?"),
        ("epochs: 2", "epochs: two",
         "small.yaml:19: training.epochs: expected a whole number, received the text 'two'"),
        ("units: $classes", "units: 5",
         "small.yaml:17: model.layers[4].Dense.units: 5 scores for 3 classes (blue, green, red)\n  write units: $classes"),
        ("activation: softmax", "activation: sofmax",
         "small.yaml:17: model.layers[4].Dense: refused by keras.layers: Could not interpret activation function identifier: sofmax"),
        ("activation: softmax", "activation: linear",
         "small.yaml:18: training.loss: CategoricalCrossentropy expects probabilities, but the last layer gives other scores\n"
         "  give the last layer activation: softmax, or the loss from_logits: true"),
        ("HorizontalFlip", "RandomCrop: {height: 8, width: 9}",
         "small.yaml:8: data.augment[0]: RandomCrop turns 16x20x3 pixels (height, width, channels) into 8x9x3\n"
         "  pictures have data.image_size before and after augmentation; RandomResizedCrop with that size zooms and keeps it"),
        ("path: pictures", "path: picturs",
         "small.yaml:3: data.source.path: no such folder: picturs\n  the path is relative to the working directory, {here}"),
        ("learning_rate: 0.01", "learning_rate: fast",
         "small.yaml:20: training.optimizer.Adam: refused by keras.optimizers: Argument `learning_rate` should be float, or an "
         "instance of LearningRateSchedule, or a callable (that takes in the current iteration value and returns the corresponding "
         "learning rate value). Received instead: learning_rate=fast"),
        ("epochs: 2", "epochs: 2\n  best: {monitor: val_accuracy, mode: max}",
         "small.yaml:20: training.best.monitor: nothing is called 'val_accuracy'\n"
         "  one of: loss, categorical_accuracy, val_loss, val_categorical_accuracy, learning_rate"),
        ("epochs: 2", "epochs: 2\n  metrics: [CategoricalAccuracy, SparseTopKCategoricalAccuracy]",
         "small.yaml:20: training.metrics[1].SparseTopKCategoricalAccuracy: SparseTopKCategoricalAccuracy wants class indices, "
         "but labels are one-hot\n  write TopKCategoricalAccuracy"),
        ("epochs: 2", "epochs: 2\n  loss: SparseCategoricalCrossentropy",
         "small.yaml:20: training.loss.SparseCategoricalCrossentropy: SparseCategoricalCrossentropy wants class indices, "
         "but labels are one-hot\n  write CategoricalCrossentropy"),
        ("epochs: 2", "epochs: 2\n  metrics: [F1Score]",
         "small.yaml:20: training.metrics[0].F1Score: does not fit one-hot labels [N, 3]: it gives one value per class; "
         "average: macro makes it one"),
        ("epochs: 2", "epochs: 2\n  loss: {CategoricalCrossentropy: {from_logits: true}}",
         "small.yaml:20: training.loss.CategoricalCrossentropy.from_logits: CategoricalCrossentropy expects logits, "
         "but the last layer already gives probabilities\n  remove from_logits, or the activation of the last layer"),
        ("epochs: 2", "epochs: 2\n  callbacks: [{BackupAndRestore: {backup_dir: b}}]",
         "small.yaml:20: training.callbacks[0].BackupAndRestore: would start a new run from the weights of another\n"
         "  remove it: every epoch is kept, and --resume goes on"),
        ("learning_rate: 0.01}}", "learning_rate: {ExponentialDecay: {initial_learning_rate: 1, decay_steps: 9, decay_rate: 1}}}}\n"
         "  callbacks: [ReduceLROnPlateau]",
         "small.yaml:21: training.callbacks[0].ReduceLROnPlateau: the learning rate follows a schedule, so nothing else can change it\n"
         "  give the optimizer a number as its learning_rate, and no warmup"),
        ("- Dropout: {rate: 0.3}", "- Dense: {units: 3, name: a}\n    - Dense: {units: 3, name: a}",
         "small.yaml:17: model.layers[4].Dense.name: two layers are called 'a'\n  the other is model.layers[3]"),
        ("- Flatten", "- Reshape: {target_shape: [14, 72]}\n    - LSTM: {units: 3, return_state: true}",
         "small.yaml:16: model.layers[3].LSTM: gives 3 outputs, but the next layer takes one"),
        ("epochs: 2", "epochs: 2\n  metrics: [RootMeanSquaredError, {MeanIoU: {num_classes: 2}}]",
         "small.yaml:20: training.metrics[1].MeanIoU: does not fit one-hot labels [N, 3]: Incompatible shapes: [2] vs. [6]"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 40 else "",
)  # fmt: skip
def test_mistakes_in_the_config(
    small: Path, trainer: Trainer, old: str, new: str, message: str | None
) -> None:
    done = trainer("fit", edited(small, old, new))
    assert done.code == 2
    assert "Traceback" not in done.err
    if message:
        assert done.err == f"error: {message}\n".replace("{here}", str(Path.cwd()))
    assert not Path("runs").exists()


def test_all_mistakes_of_names_and_values_in_one_go(small: Path, trainer: Trainer) -> None:
    edited(small, "Conv2D", "Conv2d")
    edited(small, "HorizontalFlip", "HorizontalFlop")
    edited(small, "batch_size: 5", "batch_sise: 5")
    edited(small, "Adam: {learning_rate", "Adam: {rate")
    done = trainer("check", small)
    assert done.code == 2
    assert done.err == (
        "error: small.yaml:6: data.batch_sise: unknown key 'batch_sise'\n"
        "  did you mean 'batch_size'?\n"
        "error: small.yaml:8: data.augment[0].HorizontalFlop: albumentations has no 'HorizontalFlop'\n"
        "  did you mean 'HorizontalFlip'?\n"
        "error: small.yaml:14: model.layers[1].Conv2d: keras.layers has no 'Conv2d'\n"
        "  did you mean 'Conv2D'?\n"
        "error: small.yaml:20: training.optimizer.Adam.rate: Adam has no argument 'rate'\n"
        "  expected one of: amsgrad, beta_1, beta_2, clipnorm, clipvalue, ema_momentum, "
        "ema_overwrite_frequency, epsilon, global_clipnorm, gradient_accumulation_steps, "
        "learning_rate, loss_scale_factor, name, use_ema, weight_decay\n"
    )


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({}, "small.yaml:3: data.source.path: no pictures (jpg, png, bmp, webp, gif, tif, avif, heic) in the sub-folders of other\n"
             "  put one sub-folder per class in it, with the pictures inside"),
        ({"cat": 9}, "small.yaml:3: data.source.path: other has one class only, 'cat': other/cat/00.png\n"
                     "  put one sub-folder per class in it, with the pictures inside"),
        ({"cat": 9, "dog": 2}, "small.yaml:5: data.split: class 'dog' has 2 pictures, too few to split: 1 for validation, "
                               "1 for test and at least 1 to train on\n  add pictures of the class or remove it"),
    ],
)  # fmt: skip
def test_mistakes_in_the_data(
    small: Path, trainer: Trainer, counts: dict[str, int], message: str
) -> None:
    Path("other").mkdir()
    draw_pictures(Path("other"), counts)
    done = trainer("fit", edited(small, "path: pictures", "path: other"))
    assert (done.code, done.err) == (2, f"error: {message}\n")


def test_a_place_for_runs_that_is_not_writable(small: Path, trainer: Trainer) -> None:
    Path("taken").write_text("a file")
    done = trainer("fit", small, "--set", "runs=taken")
    assert (done.code, done.err) == (
        2,
        "error: --set runs=taken: runs: taken/small cannot be written: Not a directory\n"
        "  choose another place or make it writable\n",
    )


def test_a_file_of_a_callback_that_is_not_writable(small: Path, trainer: Trainer) -> None:
    Path("taken").write_text("a file")
    logger = "training.callbacks=[{CSVLogger: {filename: taken/log.csv}}]"
    done = trainer("fit", small, "--set", logger)
    assert (done.code, done.err) == (
        2,
        "error: taken/log.csv cannot be written: Not a directory\n"
        "  choose another place or make it writable\n",
    )


def test_predict_looks_at_its_output_before_it_works(small: Path, trainer: Trainer) -> None:
    trainer("fit", small, "--set", "training.epochs=1")
    Path("taken").write_text("a file")
    done = trainer("predict", "pictures", "--out", "taken/labels.csv")
    assert (done.code, done.err) == (
        2,
        "error: --out: taken/labels.csv cannot be written: File exists\n"
        "  choose another place or make it writable\n",
    )


def test_missing_things(small: Path, trainer: Trainer) -> None:
    def err(*arguments: object) -> str:
        done = trainer(*arguments)
        assert done.code == 2
        return done.err

    assert err("fit", "smal.yaml") == (
        "error: smal.yaml: no such file\n  did you mean 'small.yaml'?\n"
    )
    assert err("evaluate") == (
        f"error: no run in {Path.cwd()}/runs yet\n"
        "  start one with trainer fit, or give the folder of a run\n"
    )
    assert err("evaluate", "pictures") == (
        "error: pictures: is no run: it has no config.yaml\n"
        "  give a folder such as runs/rps/latest, or a config\n"
    )
    assert err("export", "runs/x") == (
        "error: runs/x: no such run\n  give a folder such as runs/rps/latest, or a config\n"
    )
    name = "x" * 300
    assert err("export", name) == f"error: {name}/config.yaml: File name too long\n"
    assert err("serve", name) == f"error: {name}/config.yaml: File name too long\n"
    assert err("export", small) == (
        "error: name: no run in runs/small yet\n  start one with trainer fit\n"
    )
    assert err("predict", small) == (
        "error: name: no run in runs/small yet\n  start one with trainer fit\n"
    )
    trainer("fit", small, "--set", "training.epochs=1")
    assert err("predict", small) == (
        "error: PATH: no pictures given\n  as in trainer predict small.yaml hand.jpg\n"
    )
    assert err("predict", "gone.jpg") == "error: gone.jpg: no such file or folder\n"
    Path("runs/small/latest/checkpoints/best.keras").unlink()
    assert "there is no checkpoints/best.keras: the monitored value was NaN" in err("evaluate")
    Path("runs/small/latest/history.csv").unlink()
    assert "no epoch was finished in this run\n" in err("evaluate")


def test_nothing_in_a_checkpoint_runs_code(small: Path, trainer: Trainer) -> None:
    """The network is built from the config; of the .keras file only numbers are read."""
    import json
    import zipfile

    trainer("fit", small, "--set", "training.epochs=1")
    path = Path("runs/small/latest/checkpoints/best.keras")
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    config.update(module="os", class_name="system", config="touch hacked", registered_name=None)
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    assert trainer("evaluate").code == 0
    assert not Path("hacked").exists()


def test_a_replica_without_pictures_is_refused() -> None:
    from types import SimpleNamespace

    from trainer.errors import UserError
    from trainer.training import hardware

    with pytest.raises(UserError) as error:
        hardware.demand_full_replicas(SimpleNamespace(num_replicas_in_sync=4), 3)
    assert str(error.value) == (
        "data.batch_size: 3 pictures per step cannot feed 4 replicas\n"
        "  write at least 4, or training.strategy: single"
    )
