"""YAML and overrides -> Config, or every mistake with its line."""

from pathlib import Path

import pytest

from tests.conftest import SMALL
from trainer.config import Config
from trainer.config.load import dump, load, located
from trainer.errors import UserError, leaves


def write(folder: Path, text: str, name: str = "c.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def mistakes(folder: Path, text: str, *overrides: str) -> list[str]:
    """The messages, without the temporary folder."""
    try:
        load(write(folder, text), overrides)
    except ExceptionGroup as group:
        found = list(leaves(group))
    except UserError as error:
        found = [error]
    else:
        return []
    return [str(error).replace(f"{folder}/", "") for error in found]


def test_reads_a_file(tmp_path: Path) -> None:
    config = load(write(tmp_path, SMALL))
    assert config.data.image_size == (16, 20)
    assert config.model.layers[1].name == "Conv2D"
    assert config.model.layers[1].arguments == {
        "filters": 4,
        "kernel_size": 3,
        "activation": "relu",
    }
    assert config.training.strategy == "auto"
    assert [each.kind for each in config.export] == ["saved_model", "onnx"]


def test_dump_is_the_inverse_of_load(tmp_path: Path) -> None:
    config = load(write(tmp_path, SMALL))
    again = load(write(tmp_path, dump(config), "again.yaml"))
    assert again.model_dump() == config.model_dump()


def test_dump_keeps_text_that_looks_like_a_number(tmp_path: Path) -> None:
    overrides = ["name='1e5'", "data.source.path='0'", "training.optimizer.Adam.learning_rate=.inf"]
    config = load(write(tmp_path, SMALL), overrides)
    again = load(write(tmp_path, dump(config), "again.yaml"))
    assert (again.name, again.data.source.model_dump()["path"]) == ("1e5", "0")
    assert again.training.optimizer.arguments == {"learning_rate": float("inf")}


def test_merge_keys_give_way_to_what_is_written(tmp_path: Path) -> None:
    text = SMALL.replace(
        "{learning_rate: 0.01}", "{<<: {learning_rate: 0.5, beta_1: 0.8}, beta_1: 0.7}"
    )
    arguments = load(write(tmp_path, text)).training.optimizer.arguments
    assert arguments == {"learning_rate": 0.5, "beta_1": 0.7}


def test_scalars_are_those_of_yaml_1_2(tmp_path: Path) -> None:
    text = SMALL.replace(
        "{learning_rate: 0.01}", "{a: 1e-3, b: no, c: 12:30, d: 010, e: .inf, f: ~}"
    )
    arguments = load(write(tmp_path, text)).training.optimizer.arguments
    assert arguments == {"a": 0.001, "b": "no", "c": "12:30", "d": 10, "e": float("inf"), "f": None}


def test_all_mistakes_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = (
        SMALL.replace("batch_size: 5", "batch_sise: 5")
        .replace("epochs: 2", "epochs: two")
        .replace("[16, 20]", "[16, 20, 3]")
        .replace("validation: 0.25", "validation: 0.8")
    )
    assert mistakes(tmp_path, text) == [
        "c.yaml:4: data.image_size: expected a list of 2, received a list of 3",
        "c.yaml:5: data.split: validation 0.8 + test 0.25 leaves nothing to train on",
        "c.yaml:6: data.batch_sise: unknown key 'batch_sise'\n  did you mean 'batch_size'?",
        "c.yaml:19: training.epochs: expected a whole number, received the text 'two'",
    ]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.strategy=al", "training.strategy: expected 'auto', 'single', 'mirrored' or 'multi_worker', received the text 'al'"),
        ("training.epochs=0", "training.epochs: expected greater than or equal to 1, received 0"),
        ("training.epochs=2.5", "training.epochs: expected a whole number, received 2.5"),
        ("training.epochs=true", "training.epochs: expected a whole number, received true"),
        ("training.metrics=CategoricalAccuracy", "training.metrics: expected a list, received the text 'CategoricalAccuracy'"),
        ("training=3", "training: expected a mapping of `key: value`, received 3"),
        ("data.source.kind=foldr", "data.source.kind: unknown kind 'foldr'\n  did you mean 'folder'?"),
        ("data.source={path: x}", None),
        ("data.source=folder", "data.source: expected a mapping of `key: value`, received the text 'folder'"),
        ("data.source.kind=rendered_hands", None),
        ("data.source={kind: rendered_hands, images_per_class: 0}", "data.source.images_per_class: expected greater than or equal to 1, received 0"),
        ("data.source={kind: rendered_hands, size: 15}", "data.source.size: expected greater than or equal to 16, received 15"),
        ("data.source={kind: rendered_hands, size: 4097}", "data.source.size: expected less than or equal to 4096, received 4097"),
        ("data.source={kind: rendered_hands, size: large}", "data.source.size: expected a whole number, received the text 'large'"),
        ("data.source={kind: rendered_hands, seed: -1}", "data.source.seed: expected greater than or equal to 0, received -1"),
        ("data.source={kind: rendered_hands, seed: 4294967296}", "data.source.seed: expected less than 4294967296, received 4294967296"),
        ("data.source={kind: rendered_hands, path: 3}", "data.source.path: expected text, received 3"),
        ("data.source={kind: rendered_hands, sizes: 64}", "data.source.sizes: unknown key 'sizes'\n  did you mean 'size'?"),
        ("training.batch_size=4", "training.batch_size: unknown key 'batch_size'\n  it belongs to data: data.batch_size"),
        ("evaluation.gates.top_5_accuracy=1", "evaluation.gates.top_5_accuracy: unknown key 'top_5_accuracy'\n  expected one of: accuracy, balanced_accuracy, brier, calibration_error, cohen_kappa, exact_match, hamming_loss, latency_ms, log_loss, macro_f1, matthews_correlation, mean_average_precision, micro_f1, roc_auc, size_mb, worst_recall"),
        ("data.source.pth=x", "data.source.pth: unknown key 'pth'\n  did you mean 'path'?"),
        ("model.layers=[]", "model.layers: expected a list of 1, received a list of 0"),
        ("model.layers[1]=[3]", "model.layers[1]: expected a name or `Name: {argument: value}`, received a list of 1"),
        ("model.layers[1]={Dense: 3}", "model.layers[1]: expected the arguments of Dense as a mapping, received 3"),
        ("model.layers[9]=Flatten", "no item [9] in a list of 5"),
        ("name=a/b", "name: expected text that matches ^[A-Za-z0-9][A-Za-z0-9_.-]*$, received the text 'a/b'"),
        ("export=[{kind: onnx, opset: 30}]", "export[0].opset: expected less than or equal to 25, received 30"),
        ("export=[{kind: onnx}, {kind: onnx}]", "export: two exports of kind 'onnx' would write model.onnx"),
        ("seed=4294967296", "seed: expected less than 4294967296, received 4294967296"),
        ("data.image_size=[16]", "data.image_size: expected more values, received a list of 1"),
        ("data.workers=many", "data.workers: expected 'auto' or 'threads', or a whole number, received the text 'many'"),
        ("data.workers=0", "data.workers: expected 'auto' or 'threads', or greater than or equal to 1, received 0"),
        ("data.load_size=big", "data.load_size: expected a list, or 'original', received the text 'big'"),
        ("data.augment_warmup=-1", "data.augment_warmup: expected greater than or equal to 0, received -1"),
        ("data.augment_warmup=soon", "data.augment_warmup: expected a number, received the text 'soon'"),
        ("data.sampling=weighted", "data.sampling: expected 'shuffled', 'balanced' or 'sequential', or a mapping of `key: value`, received the text 'weighted'"),
        ("data.sampling={cat: x}", "data.sampling.cat: expected a number, received the text 'x'"),
        ("data.cache=ram", "data.cache: expected 'off', 'memory' or 'disk', received the text 'ram'"),
        ("training.profile=[9, 3]", "training.profile: expected [first, last] step, counted from 1, received [9, 3]"),
        ("training.checkpoint.minutes=0", "training.checkpoint.minutes: expected greater than 0, received 0"),
        ("export=[{kind: onx}]", "export[0].kind: unknown kind 'onx'\n  did you mean 'onnx'?"),
    ],
)  # fmt: skip
def test_wrong_values_name_the_place_and_what_was_expected(
    tmp_path: Path, override: str, message: str | None
) -> None:
    expected = [f"--set {override}: {message}"] if message else []
    assert mistakes(tmp_path, SMALL, override) == expected


def test_pictures_that_a_warmup_leaves_alone_have_to_fit_the_network(tmp_path: Path) -> None:
    overrides = "data.load_size=[20, 24]", "data.augment_warmup=2"
    assert mistakes(tmp_path, SMALL, *overrides) == [
        "c.yaml:2: data: augment_warmup leaves pictures as they are loaded, so leave out load_size"
    ]


def test_missing_keys(tmp_path: Path) -> None:
    assert mistakes(tmp_path, "name: x\ndata:\n  source: {}\n") == [
        "c.yaml:1: the key 'model' is missing\n  add `model:`",
        "c.yaml:1: the key 'training' is missing\n  add `training:`",
        "c.yaml:2: data: the key 'image_size' is missing\n  add `image_size:`",
        "c.yaml:3: data.source: the key 'kind' is missing\n  add `kind:`, csv, folder, idx, npz, rendered_hands, tfds, tfrecord or video",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1,\n", "c.yaml:2: not valid YAML: expected the node content, but found '<stream end>'"),
        ("a: {b: 1\nc: 2\n", "c.yaml:2: not valid YAML: expected ',' or '}', but got ':'\n  a bracket or brace is not closed"),
        ("a:\n  b: 1\n   c: 2\n", "c.yaml:3: not valid YAML: mapping values are not allowed here\n  look at the indentation here and above: one section, one column"),
        ("a:\n   b: 1\n  c: 2\n", "c.yaml:3: not valid YAML: expected <block end>, but found '<block mapping start>'\n  look at the indentation here and above: one section, one column"),
        ("a:\n\t- 1\n", "c.yaml:2: not valid YAML: found character '\\t' that cannot start any token\n  indent with spaces, not tabs"),
        ("a: 1\na: 2\n", "c.yaml:2: a: the key stands twice\n  first in c.yaml:1"),
        ("a: !!python/object:os.system x\n", "c.yaml:1: tag:yaml.org,2002:python/object:os.system: tags are not allowed in a config\n  write the plain value"),
        ("- 1\n", "c.yaml: expected the sections of a config, received a list of 1\n  start from one of the files in configs/"),
        ("", "c.yaml: expected the sections of a config, received nothing\n  start from one of the files in configs/"),
        ("a: &a [*a]\n", "c.yaml:1: too large or too deeply nested for a config"),
        ("{" * 3000, "c.yaml:1: too large or too deeply nested for a config"),
        ("a: 1\n? [x, y]\n: 2\n", "c.yaml:2: a key must be plain text"),
    ],
)  # fmt: skip
def test_what_is_no_config(tmp_path: Path, text: str, message: str) -> None:
    assert mistakes(tmp_path, text) == [message]


def test_aliases_cannot_explode(tmp_path: Path) -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert "too large or too deeply nested" in mistakes(tmp_path, "\n".join(lines))[0]


def test_missing_file_names_its_neighbour(tmp_path: Path) -> None:
    write(tmp_path, SMALL, "small.yaml")
    with pytest.raises(UserError) as error:
        load(tmp_path / "smal.yaml")
    assert str(error.value) == (
        f"{tmp_path}/smal.yaml: no such file\n  did you mean '{tmp_path}/small.yaml'?"
    )


def test_extends_lays_a_file_over_another(tmp_path: Path) -> None:
    write(tmp_path, SMALL, "base.yaml")
    path = write(tmp_path, "extends: base.yaml\nname: big\ntraining: {epochs: 7}\n")
    config = load(path)
    assert (config.name, config.training.epochs, config.data.batch_size) == ("big", 7, 5)


def test_a_mistake_in_the_base_names_the_base(tmp_path: Path) -> None:
    base = write(tmp_path, SMALL.replace("epochs: 2", "epochs: -2"), "base.yaml").name
    assert mistakes(tmp_path, f"extends: {base}\nname: big\n") == [
        "base.yaml:19: training.epochs: expected greater than or equal to 1, received -2"
    ]


def test_extends_in_a_circle_or_of_nothing(tmp_path: Path) -> None:
    write(tmp_path, "extends: c.yaml\n", "other.yaml")
    assert "extends itself through" in mistakes(tmp_path, "extends: other.yaml\n")[0]
    assert mistakes(tmp_path, "extends: nothing.yaml\n") == [
        "c.yaml:1: extends: no such file: nothing.yaml\n  the path is relative to this file"
    ]


def test_another_kind_or_name_replaces_the_old_arguments(tmp_path: Path) -> None:
    text = SMALL.replace("{kind: folder, path: pictures}", "{kind: rendered_hands, size: 64}")
    overrides = [
        "data.source.path=here",
        "data.source.kind=folder",
        "training.optimizer.SGD.momentum=0.9",
    ]
    config = load(write(tmp_path, text), overrides)
    assert config.data.source.model_dump() == {"kind": "folder", "path": "here"}
    assert config.training.optimizer.written() == {"SGD": {"momentum": 0.9}}


def test_overrides_reach_into_calls_and_lists(tmp_path: Path) -> None:
    overrides = [
        "training.optimizer.Adam.beta_1=0.8",
        "model.layers[1].Conv2D.filters=9",
        "data.augment[0].HorizontalFlip.p=1",
    ]
    config = load(write(tmp_path, SMALL), overrides)
    assert config.training.optimizer.arguments == {"learning_rate": 0.01, "beta_1": 0.8}
    assert config.model.layers[1].arguments["filters"] == 9
    assert config.model.layers[1].arguments["kernel_size"] == 3
    assert config.data.augment[0].written() == {"HorizontalFlip": {"p": 1}}


def test_an_override_without_a_value_says_how(tmp_path: Path) -> None:
    assert mistakes(tmp_path, SMALL, "training.epochs") == [
        "--set training.epochs: expected path=value\n  as in --set training.epochs=3"
    ]


def test_located_adds_the_line_of_the_nearest_written_path(tmp_path: Path) -> None:
    config: Config = load(write(tmp_path, SMALL))
    with pytest.raises(ExceptionGroup) as group, located(config):
        raise UserError("model.layers[1].Conv2D.filters.x", "is wrong")
    [error] = leaves(group.value)
    assert str(error) == f"{tmp_path}/c.yaml:14: model.layers[1].Conv2D.filters.x: is wrong"


def test_located_leaves_errors_about_files_alone(tmp_path: Path) -> None:
    config: Config = load(write(tmp_path, SMALL))
    with pytest.raises(ExceptionGroup) as group, located(config):
        raise UserError("some/file.png", "is wrong")
    assert [str(error) for error in leaves(group.value)] == ["some/file.png: is wrong"]
