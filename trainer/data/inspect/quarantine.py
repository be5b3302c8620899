"""The list of pictures that are left out: a CSV with the columns path and reason.

`data inspect` writes rows whose reason begins with OURS and renews them every time. All other rows
are the user's, and stay as they are.
"""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer import files
from trainer.errors import UserError

COLUMNS = ("path", "reason")
OURS = "inspect: "  # begins our reasons; whoever writes another reason makes the row their own


def read(path: Path) -> list[dict[str, str]]:
    """The rows as written. Raises UserError if the file is missing or has no column path."""
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            reader = csv.DictReader(file, restval="")
            if "path" not in (reader.fieldnames or ()):
                raise ValueError(f"its columns are {', '.join(reader.fieldnames or ()) or 'none'}")
            return [_whole(row) for row in reader]
    except (OSError, ValueError, csv.Error) as error:
        problem = f"{path} is no list of pictures with a column path: {error}"
        raise UserError("data.quarantine", problem) from None


def _whole(row: dict[Any, Any]) -> dict[str, str]:
    """A row of DictReader; what a comma without quotes cut off the last cell is in it again."""
    rest = row.pop(None, [])
    if rest:
        *_, last = row
        last = "reason" if last == "path" else last
        row[last] = ",".join([row[last], *rest] if row.get(last) else rest)
    return row


def reasons(path: Path) -> dict[str, str]:
    """Why, by the name of the picture. Raises UserError."""
    return {row["path"]: row.get("reason", "") for row in read(path)}


def renew(path: Path, found: Mapping[str, str]) -> dict[str, str]:
    """Writes the user's rows and then ours; returns all reasons by the names of pictures.

    Args:
        found: our reasons, by the names of pictures.

    Raises: UserError if the file cannot be read or written.
    """
    old = read(path) if path.exists() else []
    rows = [row for row in old if not row.get("reason", "").startswith(OURS)]
    taken = {row["path"] for row in rows}
    rows += [
        {"path": name, "reason": OURS + why} for name, why in found.items() if name not in taken
    ]
    columns = list(dict.fromkeys([*COLUMNS, *(key for row in rows for key in row)]))
    files.write_csv(path, columns, [[row.get(key, "") for key in columns] for row in rows])
    return {row["path"]: row.get("reason", "") for row in rows}
