"""What a user did that cannot work, said so that they can mend it."""

import difflib
from collections.abc import Iterable, Iterator


class UserError(Exception):
    """A mistake in the user's input.

    Several at once travel in an ExceptionGroup. `trainer.cli` prints them and exits with 2.

    Args:
        where: the path in the config (`data.source.path`), or a file or command-line argument.
        problem: what is wrong, with the value received.
        hint: the way out.
        place: `file:line` of `where`; left empty, `config.load.located` fills it in.
    """

    def __init__(self, where: str, problem: str, hint: str = "", place: str = "") -> None:
        super().__init__(where, problem, hint, place)
        self.where, self.problem, self.hint, self.place = where, problem, hint, place

    def __str__(self) -> str:
        head = ": ".join(part for part in (self.place, self.where, self.problem) if part)
        return head + (f"\n  {self.hint}" if self.hint else "")


def leaves(group: BaseExceptionGroup) -> Iterator[UserError]:
    """The UserErrors of a group, at any depth."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        elif isinstance(error, UserError):
            yield error


class Failed(Exception):
    """The work was done and its result is not good enough; the command exits with `code`."""

    code = 1


class Missed(Failed):
    """A gate of `evaluation.gates` was missed."""

    code = 3


class WorkerEnded(Failed):
    """A worker on this machine has ended otherwise than well.

    Args:
        code: the command exits with it.
    """

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


class Lost(Failed):
    """A worker is gone whom the others need: all have to be started again. The code is EX_TEMPFAIL
    of sysexits.h, so that a scheduler can tell it from what another try would not mend."""

    code = 75


class Interrupted(Exception):
    """Ctrl-C or SIGTERM, with what is kept and how to go on.

    Args:
        code: the command exits with it, 128 and the number of the signal.
    """

    def __init__(self, text: str, code: int = 130) -> None:
        super().__init__(text)
        self.code = code


def nearest(received: str, known: Iterable[str]) -> str:
    """The known name most like the one received; empty if none is."""
    folded = {name.lower(): name for name in sorted(known)}
    near = difflib.get_close_matches(received.lower(), folded, n=1, cutoff=0.6)
    return folded[near[0]] if near else ""


def suggestion(received: str, known: Iterable[str]) -> str:
    """`did you mean …?` for the nearest known name, else the list of them all (up to twenty)."""
    names = sorted(known)
    near = nearest(received, names)
    if near:
        return f"did you mean '{near}'?"
    return f"expected one of: {', '.join(names)}" if len(names) <= 20 else ""


def received(value: object) -> str:
    """The value as the user wrote it in YAML, with its kind where a quote would mislead."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case str():
            return f"the text {value!r}"
        case dict():
            return f"a mapping with {', '.join(map(repr, value)) or 'no keys'}"
        case list() | tuple():
            return f"a list of {len(value)}"
        case _:
            return repr(value)
