"""The README is true: its commands run, its file tree is the one on disk, its output is real."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

from tests.conftest import Outcome

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
IGNORED = {
    "__pycache__",
    ".git",
    ".venv",
    "runs",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    "build",
}

# Laid over rps.yaml where the README trains: the same command in seconds.
SMALL = [
    "data.source.images_per_class=12", "data.source.size=48", "data.image_size=[32, 32]",
    "data.batch_size=8", "training.epochs=1",
]  # fmt: skip


def commands() -> list[str]:
    """The `$ trainer …` lines of the console blocks, in order."""
    blocks = re.findall(r"```console\n(.*?)```", README, flags=re.DOTALL)
    return [
        line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ trainer")
    ]


def test_its_commands_run(workplace: Path, trainer: Callable[..., Outcome]) -> None:
    assert {line.split()[1] for line in commands()} >= {
        "fit",
        "check",
        "evaluate",
        "export",
        "predict",
    }
    (workplace / "configs").symlink_to(ROOT / "configs")
    for line in commands():
        arguments = [
            str(next(workplace.glob(each))) if "*" in each else each
            for each in shlex.split(line.partition("#")[0])[1:]
        ]
        if arguments[0] in ("fit", "check") and "--resume" not in arguments:
            arguments += [part for each in SMALL for part in ("--set", each)]
        if "--resume" in arguments:
            arguments += ["--set", "training.epochs=2"]
            arguments += [part for each in SMALL[:-1] for part in ("--set", each)]
        done = trainer(*arguments)
        assert done.code == 0, f"{line}\n{done.err}"


def test_its_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"make ([a-z-]+)", README))
    assert {"demo", "test", "check"} <= named <= targets


def test_its_file_tree_is_the_one_on_disk() -> None:
    """Every folder and Python file of trainer/, and the top level, stand in the captioned tree."""
    tree = README.split("## The files", 1)[1].split("```")[1]
    stack: list[tuple[int, str]] = []
    named: set[str] = set()
    for line in tree.strip().splitlines():
        indent = len(line) - len(line.lstrip())
        name, caption = re.match(r"\s*(\S+)\s*(.*)", line).groups()  # type: ignore[union-attr]
        assert caption, f"{name} has no caption"
        while stack and stack[-1][0] >= indent:
            stack.pop()
        path = "/".join([each for _, each in stack] + [name.rstrip("/")])
        assert (ROOT / path).exists() or path == "runs", path
        named.add(path)
        if name.endswith("/"):
            stack.append((indent, name.rstrip("/")))
    inside = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "trainer").rglob("*")
        if not IGNORED & set(path.parts)
        and (path.is_dir() or path.suffix == ".py")
        and path.name not in ("__init__.py", "__main__.py")
    }
    top = {
        path.name
        for path in ROOT.iterdir()
        if not path.name.startswith(".")
        and path.name not in IGNORED
        and not path.name.endswith(".egg-info")
    }
    assert (inside | top) - named == set()
