"""What the devices at hand are good for, and the line that says what a training works on and why.

Nothing here asks TensorFlow, so all of it can be tried where there is no GPU.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from trainer.config.training import Training

# The least compute capability whose tensor cores multiply in it: Volta's for float16 (TensorFlow's
# guide "Mixed precision"), Ampere's for bfloat16 (NVIDIA's CUDA programming guide). bfloat16 has
# the range of float32 and needs no loss scaling, so it comes first.
TENSOR_CORES = {"mixed_bfloat16": (8, 0), "mixed_float16": (7, 0)}


class Device(NamedTuple):
    """One that TensorFlow can compute on."""

    kind: str  # CPU, GPU or TPU, as TensorFlow calls it
    name: str = ""  # of the model, as its driver calls it
    capability: tuple[int, int] = (0, 0)  # of NVIDIA's GPUs: major, minor


def device(kind: str, details: Mapping[str, Any]) -> Device:
    """From what `tf.config.experimental.get_device_details` says; it may say nothing."""
    return Device(
        kind, details.get("device_name", ""), tuple(details.get("compute_capability", (0, 0)))
    )


def gains(precision: str, devices: Sequence[Device]) -> bool:
    """Whether each of the devices is known to be faster in it than in float32."""
    return all(
        each.capability >= TENSOR_CORES.get(precision, (99, 0))
        or (each.kind == "TPU" and precision == "mixed_bfloat16")
        for each in devices
    )


def advised(devices: Sequence[Device]) -> str:
    """The mixed precision that all of the devices gain from; empty if there is none."""
    return next((each for each in TENSOR_CORES if gains(each, devices)), "")


def described(devices: Sequence[Device], replicas: int, spec: Training, workers: int = 1) -> str:
    """One line for the user: devices, strategy and precision, each with its reason.

    Args:
        devices: all that are visible to this worker, of one kind.
        replicas: that the strategy keeps in sync, on all workers.
        spec: which strategy and precision were asked for.
    """
    mirrored = replicas > 1 or spec.strategy == "mirrored"
    how = f"mirrored over {_counted(replicas, 'replica')}" if mirrored else "one replica"
    how += f" of {workers} workers" if workers > 1 else ""
    strategy = f"training.strategy {spec.strategy}{_why(devices, spec, workers)}"
    precision = f"{spec.precision}{_advice(devices, spec.precision)}"
    return f"{_named(devices)}, {how} ({strategy}), {precision}"


def _named(devices: Sequence[Device]) -> str:
    kind, models = devices[0].kind, dict.fromkeys(each.name for each in devices if each.name)
    if kind == "CPU":
        return "CPU" if len(devices) == 1 else f"{len(devices)} logical CPUs"
    return _counted(len(devices), kind) + (f" ({', '.join(models)})" if models else "")


def _why(devices: Sequence[Device], spec: Training, workers: int) -> str:
    if spec.strategy != "auto":
        return ""
    if workers > 1:
        return ": the environment tells of others"
    if devices[0].kind != "GPU":
        return ": no GPU"
    return f": {_counted(len(devices), 'GPU')}"


def _advice(devices: Sequence[Device], precision: str) -> str:
    if gains(precision, devices):
        return ""
    kind, best = devices[0].kind, advised(devices)
    these = f"these {kind}s" if len(devices) > 1 else f"this {kind}"
    if best:
        return f"; {best} would be faster on {these}: set training.precision"
    # bfloat16 gains on some CPUs (AVX-512, AMX); TensorFlow does not tell which.
    if precision == "float32" or (precision, kind) == ("mixed_bfloat16", "CPU"):
        return ""
    return f"; {precision} is not faster than float32 on {these}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
