"""`trainer tensorboard`: opens TensorBoard on runs."""

import contextlib
import io
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tensorboard import compat, default, program
from tensorboard.plugins.debugger_v2.debugger_v2_plugin import DebuggerV2Plugin

from trainer import run as runs
from trainer import terminal
from trainer.errors import UserError

HOST = "127.0.0.1"  # TensorBoard asks for no password
RUNS = "runs"  # where they are, if nothing else is said
RESCAN = 5  # seconds from one look for new runs to the next
# TensorBoard keeps ten pictures of a page, drawn by lot: a slider with holes. 0 would mean all of
# them to its slow reader, and none to its fast one.
SAMPLES = "scalars=10000,images=500,pr_curves=500,histograms=500,distributions=500"


def run(targets: Sequence[str], port: int) -> None:
    """Serves until Ctrl-C, which is its normal end. Runs that begin meanwhile show up.

    TensorBoard gets a folder of links: without them it would show the latest run twice, as itself
    and behind `latest`, and names as long as paths.

    Args:
        targets: runs, configs (their latest run) or folders with runs below them; nothing: runs/.
        port: 0 takes a free one.

    Raises: UserError if there is no such run, or the port is taken.
    """
    places = [_place(target) for target in targets or [RUNS]]
    with tempfile.TemporaryDirectory(prefix="tensorboard-") as name:
        folder = Path(name)
        count = link(places, folder)
        if not count:
            problem = f"nothing to show in {', '.join(targets) or RUNS} yet"
            raise UserError("", problem, "start a run with trainer fit, or give the folder of one")
        address = _launch(folder, port)
        terminal.say(f"showing  {count} run{'s' * (count != 1)} of {', '.join(targets) or RUNS}")
        terminal.say(f"address  {address}")
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(RESCAN)
                link(places, folder)
    terminal.say("stopped")


def link(places: Sequence[Path], folder: Path) -> int:
    """Makes a link in the folder for every run in the places, and for what searches, previews and
    explanations show; those that are there stay. Returns how many there are."""
    tops = [place.parent.parent if runs.is_run(str(place)) else place for place in places]
    top = os.path.commonpath(tops)
    found = [each for place in places for board in runs.boards(place) for each in _parts(board)]
    for name, events in found:
        shown = folder / name.relative_to(top)
        if not shown.is_symlink():
            shown.parent.mkdir(parents=True, exist_ok=True)
            shown.symlink_to(events)
    return len(found)


def _parts(board: Path) -> Iterator[tuple[Path, Path]]:
    """The path that names it, and the event folder: all of a run as one. What belongs to no run
    stands beside runs, so each part for itself: a link to all of it would be in their way."""
    if runs.is_run(str(board.parent)):
        yield board.parent, board
    else:
        yield from ((board.parent / each.name, each) for each in sorted(board.iterdir()))


def _place(target: str) -> Path:
    """The folder of a run, or one with runs in it."""
    path = Path(target)
    is_folder = path.is_dir() and not runs.is_run(target)
    return (path if is_folder or target == RUNS else runs.find(target).folder).resolve()


def _launch(folder: Path, port: int) -> str:
    """Starts the server in a thread; returns its address. Raises: UserError."""
    # Its own switch: TensorFlow would take 8 s, 600 MB and the terminal, and nothing needs it. The
    # debugger's dashboard, which shows what no training here writes, loads it past the switch.
    sys.modules["tensorboard.compat.notf"] = compat
    board = program.TensorBoard(
        [each for each in default.get_plugins() if each is not DebuggerV2Plugin]
    )
    arguments = {"logdir": folder, "host": HOST, "port": port, "samples_per_plugin": SAMPLES}
    board.configure(argv=["", *(f"--{name}={value}" for name, value in arguments.items())])
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # advice about its own options
            return board.launch()
    except program.TensorBoardPortInUseError:
        hint = "choose another one; --port 0 takes a free one"
        raise UserError("--port", f"port {port} is taken", hint) from None
    except program.TensorBoardServerException as error:
        raise UserError("--port", " ".join(error.msg.split())) from None
