"""What `tune batch` does in a process of its own: a few training steps at one batch size."""

import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from trainer.commands import _steps
from trainer.commands._assemble import assemble
from trainer.config.load import load, located
from trainer.objects import mistakes
from trainer.training import hardware


def measure(request: Mapping[str, Any]) -> dict[str, Any]:
    """Trains on one batch of a size for a few steps.

    Returns `batch`, which is larger than asked for if there are more replicas; `pictures` to train
    on; `seconds` and `cpu_seconds` of the fastest step; peak `memory` in bytes, of all GPUs if
    there are any, else of this process. `fits` is False, and the rest missing, where TensorFlow ran
    out of memory.
    """
    overrides = request["overrides"]
    config = load(Path(request["config"]), overrides, mistakes)
    with located(config):
        replicas = hardware.prepare(config.training, config.seed).num_replicas_in_sync
        batch = max(request["batch"], replicas)
        sized = load(Path(request["config"]), [*overrides, f"data.batch_size={batch}"])
        job = assemble(sized)
        found = {"batch": batch, "pictures": len(job.sides.train)}
        try:
            taken = _steps.timed(sized, job, batch)
            return found | {"fits": True, **taken._asdict(), "memory": _peak()}
        except (tf.errors.ResourceExhaustedError, MemoryError):
            return found | {"fits": False}


def _peak() -> int:
    """Bytes at the most so far."""
    gpus = tf.config.list_logical_devices("GPU")
    if gpus:
        infos = (tf.config.experimental.get_memory_info(gpu.name[-5:]) for gpu in gpus)
        return sum(info["peak"] for info in infos)
    status = Path("/proc/self/status")
    if status.exists():  # getrusage begins with what the parent had when it started this process
        [line] = [each for each in status.read_text().split("\n") if each.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes on macOS
