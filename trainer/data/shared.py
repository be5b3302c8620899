"""Memory that processes share. It has no name: nothing of it is left behind, however they end."""

import mmap
import os
import tempfile

import numpy as np


def create(size: int) -> int:
    """The descriptor of `size` bytes of zeros, to be closed by the caller.

    A page takes memory once it is written to. Unlike /dev/shm, of which a container gets 64 MB, it
    is limited by the memory alone. Raises: OSError.
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("trainer", os.MFD_CLOEXEC)
    else:  # macOS: a file that has lost its name
        descriptor, name = tempfile.mkstemp()
        os.unlink(name)  # noqa: PTH108
    os.ftruncate(descriptor, max(size, 1))  # nothing cannot be mapped
    return descriptor


def array(descriptor: int, shape: tuple[int, ...], dtype: object, start: int = 0) -> np.ndarray:
    """The bytes from `start` on as an array. It stays valid when the descriptor is closed."""
    kind = np.dtype(dtype)  # type: ignore[call-overload]
    count = int(np.prod(shape, dtype=np.int64))
    page = start // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
    size = start - page + count * kind.itemsize
    block = mmap.mmap(descriptor, max(size, 1), offset=page)
    return np.frombuffer(block, kind, count, start - page).reshape(shape)
