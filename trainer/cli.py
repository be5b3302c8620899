"""The command line. The only place that reports errors and exits.

Imports stand inside the functions: `trainer --help` must not wait for TensorFlow.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trainer import __version__
from trainer.errors import Failed, Interrupted, Lost, UserError, leaves

if TYPE_CHECKING:
    from trainer.config import Config
    from trainer.run import Run

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Train image classifiers from one YAML file.",
)

data = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Get datasets, look at them.")
app.add_typer(data, name="data")

benchmark = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Where the time goes.")
app.add_typer(benchmark, name="benchmark")

tune = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Find good settings.")
app.add_typer(tune, name="tune")

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="The YAML file.")]
Overrides = Annotated[
    list[str],
    typer.Option("--set", metavar="PATH=VALUE", help="Lay a value over the file; repeatable."),
]
Seconds = Annotated[float, typer.Option("--seconds", help="How long to measure.", min=0.1)]
Target = Annotated[
    str | None,
    typer.Argument(
        metavar="[RUN]", help="A run's folder, or a config for its latest run. Default: the latest."
    ),
]


@app.command()
def init(
    folder: Annotated[
        str,
        typer.Argument(metavar="FOLDER", help="Pictures in class folders, a CSV table, or arrays."),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="The YAML file. Default: FOLDER's name.yaml."),
    ] = None,
) -> None:
    """Look at pictures and write a config that fits them."""
    with _reported():
        from trainer.commands import init as verb

        verb.run(folder, out)


@app.command()
def fit(
    config: ConfigFile,
    overrides: Overrides = [],  # noqa: B006 (typer copies it)
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the latest run of this config, if any.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option("--workers", help="So many processes here, as if machines.", min=1, max=64),
    ] = None,
) -> None:
    """Train, keep the best epoch, evaluate it on the test split."""
    with _reported():
        if workers and workers > 1:
            from trainer.commands import _local

            raise typer.Exit(_local.run(config, overrides, resume, workers))
        from trainer.training import cluster

        if any(name in os.environ for name in cluster.NAMES):
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # its part of "a worker is gone"
        with _loaded(config, overrides, resume) as settings:
            from trainer.commands import _workers
            from trainer.commands import fit as verb

            verb.run(settings, resume, cluster=_workers.cluster(settings))


@app.command()
def crossval(
    config: ConfigFile,
    overrides: Overrides = [],  # noqa: B006
    folds: Annotated[
        int | None,
        typer.Option("--folds", help="How many. Default: data.split.folds, else 5.", min=2),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the latest one of this config, if any.")
    ] = False,
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="Average the networks of all folds, and export that.")
    ] = False,
) -> None:
    """Train once per fold, each picture judged by the network without it."""
    with _reported():
        from trainer.commands import crossval as verb

        verb.run(verb.Request(config, overrides, folds, resume, ensemble))


@app.command()
def compare(
    targets: Annotated[
        list[str],
        typer.Argument(metavar="RUN RUN...", help="Runs, or configs for their latest runs."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="The curves, a PNG. Default: compare.png beside the first.",
        ),
    ] = None,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Everything, for programs.")
    ] = None,
) -> None:
    """Lay runs beside each other: figures, curves, chance, and what differs."""
    with _reported():
        from trainer.commands import compare as verb

        verb.run(targets, out, json)


@app.command()
def check(
    config: ConfigFile,
    overrides: Overrides = [],  # noqa: B006
    devices: Annotated[
        bool, typer.Option("--devices", help="Prove that all devices train what one would.")
    ] = False,
) -> None:
    """Build everything that fit would, and train nothing."""
    with _reported(), _loaded(config, overrides) as settings:
        from trainer.commands import _devices
        from trainer.commands import check as verb

        if devices:
            _devices.run(config, settings, overrides)
        else:
            verb.run(settings)


@app.command()
def evaluate(
    run: Target = None,
    overrides: Overrides = [],  # noqa: B006
    split: Annotated[
        str | None, typer.Option("--split", help="train, validation or test, which is the default.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="PATH", help="Other pictures with the run's classes."),
    ] = None,
) -> None:
    """Say how good the best epoch of a run is on its test split, or on other pictures."""
    with _reported():
        found = _checked(run, overrides)
        from trainer.commands import _asked

        asked = _asked.asked(found, overrides, split, data)
        _import_libraries()
        from trainer.commands import evaluate as verb

        verb.run(found, overrides, asked)


@app.command()
def report(
    run: Target = None,
    overrides: Overrides = [],  # noqa: B006
    seconds: Annotated[
        float,
        typer.Option("--seconds", help="How long to ask about training pictures.", min=0),
    ] = 5,
) -> None:
    """Show everything about a run on one page, and say whether it can be shipped."""
    with _reported():
        found = _checked(run, overrides)
        _import_libraries()
        from trainer.commands import report as verb

        verb.run(found, overrides, seconds)


@app.command()
def export(run: Target = None, overrides: Overrides = []) -> None:  # noqa: B006
    """Write SavedModel and ONNX, and prove that they agree with Keras."""
    with _reported():
        found = _checked(run, overrides)
        _import_libraries()
        from trainer.commands import export as verb

        verb.run(found, overrides)


@app.command()
def predict(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="[MODEL] PATH...",
            help="A run, a config or an exported file, else the latest run; then pictures, "
            "folders, 'patterns/**/*.jpg', addresses, videos, camera:0.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Every probability, as .csv or .jsonl."),
    ] = None,
    sort_into: Annotated[
        Path | None,
        typer.Option("--sort-into", metavar="FOLDER", help="Copies, in a folder for each class."),
    ] = None,
    top: Annotated[
        int | None, typer.Option("--top", help="Say the so many most probable labels.", min=1)
    ] = None,
    every: Annotated[
        int | None,
        typer.Option(
            "--every", help="Which frames. Default: all; of a camera one a second.", min=1
        ),
    ] = None,
    frames: Annotated[
        int | None, typer.Option("--frames", help="How many frames at most of each video.", min=1)
    ] = None,
) -> None:
    """Label pictures with a run or an exported file."""
    with _reported():
        from trainer.commands import predict as verb

        verb.run(arguments, out, sort_into, top, every, frames)


@app.command()
def explain(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="[RUN] PATH...",
            help="A run or a config, else the latest run; then pictures, folders, "
            "'patterns/**/*.jpg', addresses.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="For the PNGs. Default: RUN/explain."),
    ] = None,
    method: Annotated[
        str, typer.Option("--method", metavar="NAME,...", help="Some of them.")
    ] = "gradcam,gradcam++,occlusion,features,filters,highlights",
    layer: Annotated[
        list[str],
        typer.Option("--layer", metavar="NAME", help="Look into this one; repeatable."),
    ] = [],  # noqa: B006
    label: Annotated[
        list[str],
        typer.Option("--class", metavar="NAME", help="Ask for this one; repeatable."),
    ] = [],  # noqa: B006
) -> None:
    """Draw what a run looks at: heat over pictures, feature maps, filters."""
    with _reported():
        from trainer.commands import explain as verb

        verb.run(arguments, out, method, layer, label)


@app.command()
def serve(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN | MODEL]",
            help="A run or its config, or a model file. Default: the latest run.",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="The address to listen on; others reach 0.0.0.0.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", help="0 takes a free one.", min=0, max=65535)
    ] = 8000,
    batch: Annotated[
        int, typer.Option("--batch", help="Pictures computed together, at most.", min=1, max=256)
    ] = 32,
    wait: Annotated[
        float,
        typer.Option("--wait", help="ms that a batch waits for pictures that are coming.", min=0),
    ] = 3,
    body: Annotated[
        float, typer.Option("--body", help="MB of a request, at most.", min=0.1, max=10_000)
    ] = 16,
) -> None:
    """Answer over HTTP what is on pictures, by a run's model.onnx."""
    with _reported():
        from trainer.commands import serve as verb

        verb.run(target, host, port, batch, wait, body)


@app.command()
def tensorboard(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...", help="Runs, configs, or folders with runs. Default: all in runs/."
        ),
    ] = None,
    port: Annotated[
        int, typer.Option("--port", help="0 takes a free one.", min=0, max=65535)
    ] = 6006,
) -> None:
    """Open TensorBoard on runs."""
    with _reported():
        from trainer.commands import tensorboard as verb

        verb.run(targets or [], port)


@data.command()
def fetch(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A recipe. Default: list them.")
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option("--into", metavar="FOLDER", help="Its folder. Default: datasets/NAME."),
    ] = None,
) -> None:
    """Download, verify and unpack a public dataset."""
    with _reported():
        from trainer.commands.data import fetch as verb

        if name is None:
            verb.show()
        else:
            verb.run(name, into)


@data.command()
def inspect(
    config: ConfigFile,
    overrides: Overrides = [],  # noqa: B006
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Everything, for programs.")
    ] = None,
) -> None:
    """Look at every picture: what cannot be read, leaks, misleads or is missing."""
    with _reported(), _read(config, overrides) as settings:
        from trainer.commands.data import inspect as verb

        verb.run(settings, json)


@data.command()
def preview(
    config: ConfigFile,
    overrides: Overrides = [],  # noqa: B006
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="A PNG. Default: runs/NAME/preview.png."),
    ] = None,
) -> None:
    """Draw training pictures as training will see them."""
    with _reported(), _loaded(config, overrides) as settings:
        from trainer.commands.data import preview as verb

        verb.run(settings, out)


@data.command()
def pack(
    config: ConfigFile,
    out: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="For the shards; empty or not there.")
    ],
    overrides: Overrides = [],  # noqa: B006
    size: Annotated[
        float, typer.Option("--shard-size", metavar="MB", help="Of a shard, about.", min=0.001)
    ] = 200,
) -> None:
    """Write the pictures as TFRecord shards with an index; goes on where it was stopped."""
    with _reported(), _read(config, overrides) as settings:
        _import_libraries()
        from trainer.commands.data import pack as verb

        verb.run(settings, out, size)


@benchmark.command("input")
def benchmark_input(
    config: ConfigFile,
    overrides: Overrides = [],  # noqa: B006
    seconds: Seconds = 10,
) -> None:
    """Measure the input path alone: pictures per second without a network."""
    with _reported(), _loaded(config, overrides) as settings:
        from trainer.commands.benchmark import input as verb

        verb.run(settings, seconds)


@benchmark.command("step")
def benchmark_step(
    config: ConfigFile,
    overrides: Overrides = [],  # noqa: B006
    seconds: Seconds = 10,
) -> None:
    """Measure the training step alone: one batch again and again."""
    with _reported(), _loaded(config, overrides) as settings:
        from trainer.commands.benchmark import step as verb

        verb.run(settings, seconds)


@benchmark.command("export")
def benchmark_export(
    run: Target = None,
    overrides: Overrides = [],  # noqa: B006
    seconds: Seconds = 10,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="The table, for programs.")
    ] = None,
) -> None:
    """Measure the exported files of a run beside Keras: size, time, accuracy."""
    with _reported():
        _import_libraries()
        from trainer.commands.benchmark import export as verb
        from trainer.run import find

        verb.run(find(run), overrides, seconds, json)


@tune.command("lr")
def tune_lr(
    config: ConfigFile,
    overrides: Overrides = [],  # noqa: B006
    steps: Annotated[int, typer.Option("--steps", help="From the least rate to the last.")] = 200,
) -> None:
    """Find the learning rate: let it rise until the loss diverges."""
    with _reported(), _loaded(config, overrides) as settings:
        from trainer.commands.tune import lr as verb

        verb.run(settings, steps)


@tune.command("batch")
def tune_batch(
    config: ConfigFile,
    overrides: Overrides = [],  # noqa: B006
    most: Annotated[
        int | None,
        typer.Option("--max", help="The largest to try. Default: the training pictures.", min=1),
    ] = None,
) -> None:
    """Find the batch size: the largest that fits into memory, and the fastest."""
    with _reported(), _read(config, overrides) as settings:
        from trainer.commands.tune import batch as verb

        verb.run(config, settings, overrides, most)


@tune.command("search")
def tune_search(
    space: Annotated[Path, typer.Argument(metavar="SPACE", help="The YAML file of a search.")],
) -> None:
    """Try values of a config, trial after trial; goes on with a search that was stopped."""
    with _reported():
        from trainer.commands.tune import search as verb
        from trainer.config.load import read
        from trainer.config.search import Search
        from trainer.objects import mistakes

        verb.run(space, read(space, Search, mistakes))


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"trainer {__version__}")
        raise typer.Exit


@contextmanager
def _loaded(path: Path, overrides: list[str], resume: bool = False) -> Iterator["Config"]:
    """The config; mistakes that show later get their line in it too.

    Args:
        resume: whether code of the user's own may be what the latest run has kept of it.
    """
    from trainer.config.load import load, located

    _import_libraries()
    if resume:
        from trainer.commands import _custom

        with suppress(UserError, ExceptionGroup):  # all mistakes together, below
            _custom.reach(load(path, overrides))
    from trainer.objects import mistakes

    settings = load(path, overrides, mistakes)
    with located(settings):
        yield settings


@contextmanager
def _read(path: Path, overrides: list[str]) -> Iterator["Config"]:
    """The same without looking up names of Keras, for what needs no TensorFlow."""
    from trainer.config.load import load, located

    settings = load(path, overrides)
    with located(settings):
        yield settings


def _checked(target: str | None, overrides: list[str]) -> "Run":
    """The run that is meant, and its config: mistakes are said before TensorFlow is imported."""
    from trainer.config.load import load
    from trainer.run import find

    found = find(target)
    load(found.config, overrides)
    return found


def _import_libraries() -> None:
    """Imports TensorFlow without the lines it writes about oneDNN and CUDA."""
    from trainer.terminal import silenced

    with silenced():
        import tensorflow as tf

        tf.config.list_physical_devices()


@contextmanager
def _reported() -> Iterator[None]:
    """What goes wrong becomes a message and an exit code; a traceback is a bug of ours."""
    from trainer.terminal import fail

    try:
        yield
    except Interrupted as end:
        fail(str(end))
        raise typer.Exit(end.code) from None
    except KeyboardInterrupt:
        fail("stopped")
        raise typer.Exit(130) from None
    except Lost as end:
        fail(str(end))
        os._exit(end.code)  # TensorFlow would wait for the others again
    except Failed as end:
        fail(str(end))
        raise typer.Exit(end.code) from None
    except UserError as error:
        fail(str(error))
        raise typer.Exit(2) from None
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        fail(f"{error.filename}: {error.strerror}")
        raise typer.Exit(2) from None
    except ExceptionGroup as group:
        if group.split(UserError)[1]:
            raise
        for mistake in leaves(group):
            fail(str(mistake))
        raise typer.Exit(2) from None


def main() -> None:
    """The console script."""
    app()
