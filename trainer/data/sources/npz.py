"""`kind: npz`: images and labels in numpy archives."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from trainer.config.data import Npz
from trainer.data.arrays import combined
from trainer.data.examples import Examples
from trainer.data.sources.folder import WHERE
from trainer.errors import UserError

HINT = "numpy.savez_compressed(path, images=…, labels=…) writes one"
MAGIC = (b"PK", b"\x93NUMPY")  # numpy takes any other file for a pickle, and tells how to load it


def read(source: Npz) -> Examples:
    """The arrays of an archive, paired by their names: x_train with y_train, images with labels;
    of a folder, those of all its archives.

    Raises: UserError for a missing or broken archive, or images without labels.
    """
    path = Path(source.path).expanduser()
    archives = sorted(path.glob("*.npz")) if path.is_dir() else [path]
    if not archives:
        raise UserError(WHERE, f"no npz files in {path}", HINT)
    found: dict[str, np.ndarray] = {}
    files: dict[str, str] = {}
    for archive in archives:
        for key, array in _arrays(archive).items():
            name = key if len(archives) == 1 else f"{archive.stem} {key}"
            found[name], files[name] = array, str(archive)
    return combined(found, source.classes, str(path), files)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file:
            if not file.read(6).startswith(MAGIC):
                raise UserError(WHERE, f"{path} is no npz archive", HINT)
        with np.load(path, allow_pickle=False) as archive:
            return dict(archive)
    except FileNotFoundError:
        hint = f"the path is relative to the working directory, {Path.cwd()}"
        raise UserError(WHERE, f"no such file: {path}", hint) from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(WHERE, f"{path} is no whole npz archive: {error}", HINT) from None
    except TypeError:  # numpy opens .npy files alike, and then there is nothing to close
        raise UserError(WHERE, f"{path} is a single array, not an archive", HINT) from None
