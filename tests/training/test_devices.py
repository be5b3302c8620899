"""The line about devices, from what drivers say of them: no GPU is needed."""

from typing import Any

import pytest
import tensorflow as tf

from trainer.config.training import Training
from trainer.training import devices, hardware
from trainer.training.devices import Device

A100 = {"device_name": "NVIDIA A100-SXM4-40GB", "compute_capability": (8, 0)}
T4 = {"device_name": "Tesla T4", "compute_capability": (7, 5)}
P100 = {"device_name": "Tesla P100-PCIE-16GB", "compute_capability": (6, 0)}


def spec(strategy: str = "auto", precision: str = "float32") -> Training:
    return Training.model_validate({"epochs": 1, "strategy": strategy, "precision": precision})


@pytest.mark.parametrize(
    ("details", "replicas", "asked", "line"),
    [
        ([A100, A100], 2, spec(),
         "2 GPUs (NVIDIA A100-SXM4-40GB), mirrored over 2 replicas (training.strategy auto: 2 GPUs), float32; "
         "mixed_bfloat16 would be faster on these GPUs: set training.precision"),
        ([A100, A100], 2, spec(precision="mixed_bfloat16"),
         "2 GPUs (NVIDIA A100-SXM4-40GB), mirrored over 2 replicas (training.strategy auto: 2 GPUs), mixed_bfloat16"),
        ([A100], 1, spec(precision="mixed_float16"),
         "1 GPU (NVIDIA A100-SXM4-40GB), one replica (training.strategy auto: 1 GPU), mixed_float16"),
        ([A100, A100], 1, spec("single"),
         "2 GPUs (NVIDIA A100-SXM4-40GB), one replica (training.strategy single), float32; "
         "mixed_bfloat16 would be faster on these GPUs: set training.precision"),
        ([A100, T4], 2, spec("mirrored"),
         "2 GPUs (NVIDIA A100-SXM4-40GB, Tesla T4), mirrored over 2 replicas (training.strategy mirrored), float32; "
         "mixed_float16 would be faster on these GPUs: set training.precision"),
        ([T4], 1, spec(precision="mixed_bfloat16"),
         "1 GPU (Tesla T4), one replica (training.strategy auto: 1 GPU), mixed_bfloat16; "
         "mixed_float16 would be faster on this GPU: set training.precision"),
        ([P100], 1, spec(), "1 GPU (Tesla P100-PCIE-16GB), one replica (training.strategy auto: 1 GPU), float32"),
        ([P100], 1, spec(precision="mixed_float16"),
         "1 GPU (Tesla P100-PCIE-16GB), one replica (training.strategy auto: 1 GPU), mixed_float16; "
         "mixed_float16 is not faster than float32 on this GPU"),
        ([{}], 1, spec(), "1 GPU, one replica (training.strategy auto: 1 GPU), float32"),
    ],
)  # fmt: skip
def test_gpus(details: list[dict[str, Any]], replicas: int, asked: Training, line: str) -> None:
    found = [devices.device("GPU", each) for each in details]
    assert devices.described(found, replicas, asked) == line


@pytest.mark.parametrize(
    ("count", "replicas", "asked", "line"),
    [
        (1, 1, spec(), "CPU, one replica (training.strategy auto: no GPU), float32"),
        (1, 1, spec("single"), "CPU, one replica (training.strategy single), float32"),
        (1, 1, spec("mirrored"), "CPU, mirrored over 1 replica (training.strategy mirrored), float32"),
        (2, 2, spec("mirrored"), "2 logical CPUs, mirrored over 2 replicas (training.strategy mirrored), float32"),
        (1, 1, spec(precision="mixed_bfloat16"),
         "CPU, one replica (training.strategy auto: no GPU), mixed_bfloat16"),
        (1, 1, spec(precision="mixed_float16"),
         "CPU, one replica (training.strategy auto: no GPU), mixed_float16; "
         "mixed_float16 is not faster than float32 on this CPU"),
    ],
)  # fmt: skip
def test_cpus(count: int, replicas: int, asked: Training, line: str) -> None:
    assert devices.described([Device("CPU")] * count, replicas, asked) == line


@pytest.mark.parametrize(
    ("capability", "best"),
    [
        ((6, 1), ""),
        ((7, 0), "mixed_float16"),
        ((7, 5), "mixed_float16"),
        ((8, 0), "mixed_bfloat16"),
        ((12, 0), "mixed_bfloat16"),
    ],
)
def test_precision_goes_by_the_compute_capability(capability: tuple[int, int], best: str) -> None:
    assert devices.advised([Device("GPU", "", capability)]) == best


def test_a_tpu_gains_from_bfloat16_alone() -> None:
    assert devices.advised([Device("TPU")]) == "mixed_bfloat16"
    assert not devices.gains("mixed_float16", [Device("TPU")])


def test_gpus_are_known_by_what_their_driver_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hardware.visible() == [Device("CPU")]
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: ["one", "two"])
    details = {"one": A100, "two": {}}
    monkeypatch.setattr(tf.config.experimental, "get_device_details", details.__getitem__)
    a100 = Device("GPU", "NVIDIA A100-SXM4-40GB", (8, 0))
    assert hardware.visible() == [a100, Device("GPU")]


@pytest.mark.parametrize(
    ("kind", "count", "seen"), [("GPU", 2, ["a", "b"]), ("GPU", 1, ["a"]), ("CPU", 3, [])]
)
def test_devices_can_be_hidden(
    kind: str, count: int, seen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {"GPU": ["a", "b", "c"], "CPU": ["cpu"]}
    visible, parts = {}, {}
    monkeypatch.setattr(tf.config, "list_physical_devices", there.__getitem__)
    monkeypatch.setattr(
        tf.config, "set_visible_devices", lambda devices, kind: visible.update({kind: devices})
    )
    monkeypatch.setattr(
        tf.config,
        "set_logical_device_configuration",
        lambda device, found: parts.update({device: len(found)}),
    )
    hardware.restrict(kind, count)
    assert visible == {"GPU": seen}
    assert parts == ({"cpu": count} if kind == "CPU" else {})


def test_several_workers_are_said() -> None:
    assert devices.described([Device("CPU")], 2, spec(), workers=2) == (
        "CPU, mirrored over 2 replicas of 2 workers (training.strategy auto: the environment tells "
        "of others), float32"
    )
    assert devices.described([Device("CPU")], 3, spec("multi_worker"), workers=3) == (
        "CPU, mirrored over 3 replicas of 3 workers (training.strategy multi_worker), float32"
    )
