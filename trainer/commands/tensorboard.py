"""`trainer tensorboard`: opens TensorBoard on runs."""

import contextlib
import io
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tensorboard import compat, default, program

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
    """Makes a link in the folder for every run in the places, and for what searches show; those
    that are there stay. Returns how many there are."""
    tops = [place.parent.parent if runs.is_run(str(place)) else place for place in places]
    top = os.path.commonpath(tops)
    found = [each for place in places for each in runs.boards(place)]
    for each in found:
        shown = folder / each.parent.relative_to(top)
        if not runs.is_run(str(each.parent)):
            shown /= "search"
        if not shown.is_symlink():
            shown.parent.mkdir(parents=True, exist_ok=True)
            shown.symlink_to(each)
    return len(found)


def _place(target: str) -> Path:
    """The folder of a run, or one with runs in it."""
    path = Path(target)
    is_folder = path.is_dir() and not runs.is_run(target)
    return (path if is_folder or target == RUNS else runs.find(target).folder).resolve()


def _launch(folder: Path, port: int) -> str:
    """Starts the server in a thread; returns its address. Raises: UserError."""
    compat.notf = True  # its own switch: TensorFlow would take 8 s and 600 MB, and nothing needs it
    board = program.TensorBoard(default.get_plugins())
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
