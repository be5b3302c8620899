"""`kind: tfds`: a dataset of TensorFlow Datasets, downloaded on first use.

tfds downloads and writes the shards; they are read as those of `kind: tfrecord` are.
"""

from pathlib import Path
from typing import Any

from trainer import terminal
from trainer.config.data import Tfds, Tfrecord
from trainer.data.examples import Examples, side_of
from trainer.data.sources import tfrecord
from trainer.errors import UserError, suggestion

WHERE = "data.source"


def read(source: Tfds) -> Examples:
    """The splits that are called train, validation or test; others are left out and named, unless
    there is one split only.

    Raises: UserError without the extra `tfds`, for an unknown dataset or feature, and when the
        dataset cannot be prepared.
    """
    builder = _builder(source)
    _prepare(builder, source)
    classes = _names(builder.info.features, source)
    shards = _shards(builder.info.splits, source)
    root = Path(builder.data_path)
    inner = Tfrecord(
        kind="tfrecord", path=str(root), image=source.image, label=source.label, classes=classes
    )
    return tfrecord.indexed(
        inner, str(root), [path.relative_to(root).as_posix() for path in shards]
    )


def _builder(source: Tfds) -> Any:
    """tfds' own description of the dataset."""
    try:
        import tensorflow_datasets as tfds
    except ImportError:
        problem = 'tfds needs an extra: pip install "keras-image-trainer[tfds]"'
        raise UserError(f"{WHERE}.kind", problem) from None
    folder = Path(source.path).expanduser()
    try:
        return tfds.builder(source.name, data_dir=folder, try_gcs=False)
    except tfds.core.registered.DatasetNotFoundError:
        hint = suggestion(source.name.partition(":")[0], tfds.list_builders())
        hint = hint or "tensorflow.org/datasets/catalog lists them"
        raise UserError(f"{WHERE}.name", f"tfds has no dataset '{source.name}'", hint) from None
    except Exception as error:  # a builder is code of its own
        raise UserError(f"{WHERE}.name", f"'{source.name}': {_said(error)}") from None


def _prepare(builder: Any, source: Tfds) -> None:
    """Downloads what is not there yet; tfds shows how far it is."""
    try:
        builder.download_and_prepare()
    except Exception as error:  # a builder is code of its own
        problem = f"'{source.name}' cannot be prepared: {_said(error)}"
        hint = "is the network there? tensorflow.org/datasets/catalog says what a dataset needs"
        raise UserError(f"{WHERE}.name", problem, hint) from None


def _names(features: Any, source: Tfds) -> tuple[str, ...] | None:
    """The class names, if the dataset knows them. Raises UserError for an unknown feature."""
    for key in ("image", "label"):
        name = getattr(source, key)
        if name not in features:
            problem = f"'{source.name}' has no feature '{name}'"
            raise UserError(f"{WHERE}.{key}", problem, f"it has {', '.join(sorted(features))}")
    label = features[source.label]
    label = getattr(label, "feature", label)  # of a sequence
    return tuple(label.names) if getattr(label, "names", None) else None


def _shards(splits: Any, source: Tfds) -> list[Path]:
    """The files of the splits that are sides."""
    chosen = [name for name in splits if side_of(name)] if len(splits) > 1 else list(splits)
    for name in splits:
        if name not in chosen:
            terminal.warn(f"the split '{name}' of {source.name} is left out")
    paths = [Path(path) for name in chosen for path in splits[name].filepaths]
    others = [path.name for path in paths if "tfrecord" not in path.name]
    if others or not paths:
        problem = f"'{source.name}' is not stored as TFRecord files: {', '.join(others[:3])}"
        hint = "name another place for it, where it is prepared anew: path: …"
        raise UserError(f"{WHERE}.path", problem, hint)
    return paths


def _said(error: Exception) -> str:
    """The first line that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
