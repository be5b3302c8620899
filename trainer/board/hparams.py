"""Rows of TensorBoard's HParams dashboard: what was set, and what came out."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams import summary as session
from tensorboard.plugins.hparams import summary_v2 as hparams

from trainer.board.events import Value, scalar

Number = bool | int | float | str


def row(name: str, values: Mapping[str, Number], metrics: Mapping[str, float]) -> list[Value]:
    """A run's row.

    Args:
        name: of the row, unlike that of others.
        values: path in the config -> what was set there.
        metrics: what came out; without any the run counts as failed.
    """
    status = api_pb2.STATUS_SUCCESS if metrics else api_pb2.STATUS_FAILURE
    return [
        *_plain(hparams.hparams_pb(dict(values), trial_id=name)),
        *(scalar(tag, value) for tag, value in metrics.items()),
        *_plain(session.session_end_pb(status)),
    ]


def table(paths: Sequence[hparams.HParam], metric: str, called: str) -> list[Value]:
    """The columns of a search: what is tried, and the metric that it goes by.

    Args:
        called: the metric's name in the table.
    """
    columns = [hparams.Metric(metric, display_name=called)]
    return _plain(hparams.hparams_config_pb(list(paths), columns))


def leaves(plain: Any, where: str = "") -> Iterator[tuple[str, Number]]:
    """What a config sets, by its paths as `--set` has them: numbers, words, sizes (`96x128`); of
    other lists the names alone (`HorizontalFlip, Affine`), since their values would be hundreds of
    columns.

    Args:
        plain: the config as mappings and lists.
    """
    match plain:
        case bool() | int() | float() | str():
            yield where, plain
        case dict():
            for name, value in plain.items():
                yield from leaves(value, f"{where}.{name}" if where else name)
        case list() | tuple() if plain:
            numbers = all(isinstance(each, int | float) for each in plain)
            names = (
                next(iter(each), "") if isinstance(each, dict) else str(each) for each in plain
            )
            yield where, "x".join(map(str, plain)) if numbers else ", ".join(names)


def _plain(summary: Any) -> list[Value]:
    """Some of these messages are of TensorFlow's classes."""
    return list(Summary.FromString(summary.SerializeToString()).value)
