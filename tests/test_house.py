"""The shape of the house: which way imports run, who owns what, what the command line offers."""

import ast
import importlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.main import get_command

from trainer.cli import app
from trainer.config import Config
from trainer.config.base import Section
from trainer.config.data import Source
from trainer.config.export import Export
from trainer.config.model import Model
from trainer.parts import part

ROOT = Path(__file__).parent.parent
# Not the templates, which leave the house: trainer/export/client_files and web_files.
SOURCES = sorted(
    path for path in (ROOT / "trainer").rglob("*.py") if not path.parent.name.endswith("_files")
)

DOCUMENTED = (
    *("config.md", "sources.md", "model.md", "training.md"),
    *("export.md", "onnx.md", "web.md", "evaluation.md", "tensorboard.md"),
)

PLOTS = [path for path in SOURCES if path.parent.name == "plots" and path.stem != "__init__"]

# Each floor may import from the floors below it, and from itself where it says so.
FLOORS = [
    {"__main__"},
    {"cli"},
    {"commands"},
    {
        *("data", "model", "training", "evaluation", "explain", "board", "report"),
        *("export", "runtimes", "serving", "transforms"),
    },
    {"objects", "places", "records"},
    {"run"},
    {"config"},
    {
        "files",
        "parts",
        "plots",
        "backgrounds",
        "layers",
        "terminal",
        "html",
        "figures",
        "markdown",
        "logits",
    },
    {"errors"},
    {"__init__"},
]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT / "trainer").with_suffix("").parts[0]


def imports(path: Path) -> Iterator[str]:
    """The dotted names of all imports, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floor(name: str) -> int:
    return next(number for number, names in enumerate(FLOORS) if name in names)


def test_there_are_sources() -> None:
    assert len(SOURCES) > 30


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_downward_only(path: Path) -> None:
    here = name_of(path)
    for imported in imports(path):
        if not imported.startswith("trainer."):
            continue
        there = imported.split(".")[1]
        if there == "__version__" or there == here:
            continue
        assert floor(there) > floor(here), f"{here} must not import {there}"


@pytest.mark.parametrize(
    ("library", "owners"),
    [
        ("yaml", {"trainer/config/tree.py"}),
        ("rich", {"trainer/terminal.py"}),
        ("urllib", {"trainer/data/fetch/download.py"}),
        ("http", {"trainer/data/fetch/download.py"}),
        (
            "socket",
            {
                "trainer/data/fetch/download.py",
                "trainer/serving/server.py",
                "trainer/training/cluster.py",
            },
        ),
        ("albumentations", {"trainer/data/augment.py", "trainer/transforms.py"}),
        ("typer", {"trainer/cli.py"}),
        ("matplotlib", {f"trainer/plots/{path.name}" for path in PLOTS}),
        ("optuna", {"trainer/training/study.py"}),
        ("uvicorn", {"trainer/serving/server.py"}),
        ("prometheus_client", {"trainer/serving/metrics.py"}),
        (
            "onnx",
            {
                "trainer/export/onnx.py",
                "trainer/export/_onnx_graph.py",
                "trainer/export/_onnx_round.py",
                "trainer/export/_onnx_trace.py",
            },
        ),
        ("tf2onnx", {"trainer/export/_onnx_trace.py"}),
        ("importlib", {"trainer/objects.py", "trainer/parts.py", "trainer/records.py"}),
    ],
)
def test_a_library_has_one_owner(library: str, owners: set[str]) -> None:
    users = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if any(each.split(".")[0] == library for each in imports(path))
    }
    assert users == owners


def test_the_config_imports_nothing_heavy() -> None:
    heavy = {"tensorflow", "keras", "numpy", "albumentations", "cv2", "optuna"}
    for path in (ROOT / "trainer" / "config").glob("*.py"):
        assert not heavy & {each.split(".")[0] for each in imports(path)}


def test_only_the_command_line_prints_errors_and_exits() -> None:
    for path in SOURCES:
        text = path.read_text()
        assert not re.search(r"(?<![\w.])print\(", text), path
        if name_of(path) != "cli":
            assert not re.search(
                r"sys\.exit|SystemExit|typer\.Exit|terminal\.fail|os\._exit", text
            ), path


def test_seeds_precision_and_strategy_have_one_place() -> None:
    words = r"set_random_seed\(|set_dtype_policy\(|MirroredStrategy\(\)|set_memory_growth\("
    users = {path.name for path in SOURCES if re.search(words, path.read_text())}
    assert users == {"hardware.py"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_functions_stay_short_and_the_public_ones_are_explained(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree) or not path.read_text(), "a module says what it is"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, node.name
    for top in tree.body:
        if isinstance(top, ast.FunctionDef | ast.ClassDef) and not top.name.startswith("_"):
            assert ast.get_docstring(top), top.name


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda p: p.stem)
def test_a_benchmark_imports_what_there_is(path: Path) -> None:
    """They run by hand, so nobody else would notice."""
    for name in imports(path):
        if name.startswith("trainer."):
            module, _, member = name.rpartition(".")
            found = importlib.import_module(module)
            if not hasattr(found, member):
                importlib.import_module(name)


def kinds(union: Any) -> list[str]:
    members = get_args(get_args(union)[0]) if get_args(union) else (union,)
    return [get_args(each.model_fields["kind"].annotation)[0] for each in members]


@pytest.mark.parametrize(
    ("package", "union", "functions"),
    [
        ("data.sources", Source, {"read"}),
        ("model", Model, {"build"}),
        ("export", Export, {"write"}),
        ("runtimes", Export, {"open"}),
    ],
)
def test_every_kind_has_its_file_and_every_file_its_kind(
    package: str, union: Any, functions: set[str]
) -> None:
    assert kinds(union)
    for kind in kinds(union):
        assert functions <= set(vars(part(package, kind))), kind
    folder = ROOT / "trainer" / package.replace(".", "/")
    files = {path.stem for path in folder.glob("[!_]*.py")}
    assert files - {
        "network",
        "summary",
        "drawing",
        "layout",
        "parity",
        "material",
        "client",
        "opened",
    } == set(kinds(union))


def commands(group: Any, above: str = "") -> dict[str, Any]:
    """`fit`, `data fetch` and so on: everything that can be called."""
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        inside = hasattr(command, "commands")
        found |= commands(command, f"{above}{name} ") if inside else {above + name: command}
    return found


@pytest.mark.parametrize("path", sorted((ROOT / "trainer/commands").rglob("[!_]*.py")), ids=str)
def test_every_verb_is_a_story_and_a_command(path: Path) -> None:
    words = path.relative_to(ROOT / "trainer/commands").with_suffix("").parts
    assert " ".join(words) in commands(get_command(app))
    names = [
        each.name for each in ast.parse(path.read_text()).body if isinstance(each, ast.FunctionDef)
    ]
    assert "run" in names


def test_options_live_in_the_config_not_on_the_command_line() -> None:
    """Whoever adds an option changes this test, and thinks twice."""
    options = {
        name: sorted(opt for param in command.params for opt in param.opts if opt.startswith("-"))
        for name, command in commands(get_command(app)).items()
    }
    assert options == {
        "init": ["--out"],
        "fit": ["--resume", "--set", "--workers"],
        "crossval": ["--ensemble", "--folds", "--resume", "--set"],
        "compare": ["--json", "--out"],
        "check": ["--devices", "--set"],
        "evaluate": ["--data", "--set", "--split"],
        "report": ["--seconds", "--set"],
        "export": ["--set"],
        "predict": ["--every", "--frames", "--out", "--sort-into", "--top"],
        "explain": ["--class", "--layer", "--method", "--out"],
        "data fetch": ["--into"],
        "data inspect": ["--json", "--set"],
        "data pack": ["--out", "--set", "--shard-size"],
        "data preview": ["--out", "--set"],
        "tensorboard": ["--port"],
        "serve": ["--batch", "--body", "--host", "--port", "--wait"],
        "benchmark export": ["--json", "--seconds", "--set"],
        "benchmark input": ["--seconds", "--set"],
        "benchmark step": ["--seconds", "--set"],
        "tune lr": ["--set", "--steps"],
        "tune batch": ["--max", "--set"],
        "tune search": [],
    }


def test_the_sections_are_those_of_the_documentation() -> None:
    text = "".join((ROOT / "docs" / page).read_text() for page in DOCUMENTED)
    sections = [Config]
    for section in sections:
        for name, field in section.model_fields.items():
            assert re.search(rf"`{name}`|{name}: ", text), name
            sections += [each for each in sections_in(field.annotation) if each not in sections]
    assert len(sections) >= 10


def sections_in(annotation: Any) -> list[Any]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [section for part in get_args(annotation) for section in sections_in(part)]


def test_no_file_names_a_machine() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    ).stdout.split()
    assert listed
    bad = re.compile(r"/(?:work|root|farm|home)/\w")
    for name in listed:
        path = ROOT / name
        if path.is_file() and path.suffix not in (".png", ".jpg"):
            assert not bad.search(path.read_text(errors="replace")), name
