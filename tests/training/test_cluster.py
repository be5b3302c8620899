"""Who trains together, by what the environment tells."""

import json
import socket
import threading
import time
from typing import Any

import pytest

from trainer.errors import Lost, UserError
from trainer.training import cluster
from trainer.training.cluster import Cluster

TWO = ("a:2222", "b:2222")


def told(task: dict[str, Any], **jobs: Any) -> dict[str, str]:
    return {"TF_CONFIG": json.dumps({"cluster": jobs, "task": task})}


def slurm(nodes: str, tasks: str, rank: int, job: str = "7") -> dict[str, str]:
    return {
        "SLURM_STEP_NODELIST": nodes,
        "SLURM_STEP_TASKS_PER_NODE": tasks,
        "SLURM_STEP_NUM_TASKS": "3",
        "SLURM_PROCID": str(rank),
        "SLURM_JOB_ID": job,
    }


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        (told({"type": "worker", "index": 1}, worker=TWO), Cluster(TWO, 1, "TF_CONFIG")),
        (told({"type": "worker", "index": 0}, worker=TWO[:1]), None),
        (told({"type": "worker", "index": 0}), None),
        (
            told({"type": "worker", "index": 0}, chief=["c:1"], worker=TWO),
            Cluster(("c:1", *TWO), 1, "TF_CONFIG"),
        ),
        (
            told({"type": "chief", "index": 0}, chief=["c:1"], worker=TWO),
            Cluster(("c:1", *TWO), 0, "TF_CONFIG"),
        ),
        (
            {"TRAINER_HOSTS": "a:2222, b:2222", "JOB_COMPLETION_INDEX": "1"},
            Cluster(TWO, 1, "TRAINER_HOSTS"),
        ),
        ({"TRAINER_HOSTS": "a:2222"}, None),
        ({"JOB_COMPLETION_INDEX": "1"}, None),  # an indexed Job of single trainings
        # Ranks go by the list: sorted, node10 would come before node2.
        (
            slurm("node[2,10-11]", "1(x3)", 1),
            Cluster(("node2:10112", "node10:10112", "node11:10112"), 1, "SLURM"),
        ),
        (
            slurm("node[2,10]", "2,1", 2, job="1250"),
            Cluster(("node2:10000", "node2:10001", "node10:10000"), 2, "SLURM"),
        ),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_JOB_ID": "7"}, None),  # no step
        ({**slurm("node2", "1", 0), "SLURM_STEP_NUM_TASKS": "1"}, None),
    ],
)
def test_the_environment_tells_of_workers(
    environment: dict[str, str], expected: Cluster | None
) -> None:
    assert cluster.found(environment) == expected


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {"TF_CONFIG": "worker: a"},
            "TF_CONFIG: is not what TensorFlow expects: worker: a\n"
            '  as in {"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", '
            '"index": 0}}',
        ),
        (
            told({"type": "ps", "index": 0}, worker=TWO, ps=["c:1"]),
            "TF_CONFIG: has jobs called ps; expected only worker, or chief",
        ),
        (
            told({"type": "evaluator", "index": 0}, worker=TWO),
            "TF_CONFIG: has jobs called evaluator; expected only worker, or chief",
        ),
        (
            told({"type": "worker", "index": 2}, worker=TWO),
            "TF_CONFIG: says that this is worker 2, but they are numbered 0 to 1",
        ),
        (
            told({"type": "worker", "index": 0}, worker=["a", "b"]),
            "TF_CONFIG: expected host:port, received 'a'",
        ),
        (
            told({"type": "worker", "index": 0}, worker=["a:65536", "b:1"]),
            "TF_CONFIG: expected host:port, received 'a:65536'",
        ),
        (
            told({"type": "worker", "index": 0}, worker=["fd00::1:2222", "b:1"]),
            "TF_CONFIG: expected host:port, received 'fd00::1:2222'",
        ),
        (
            told({"type": "worker", "index": 0}, worker=["a:1", "a:1"]),
            "TF_CONFIG: names a:1 twice",
        ),
        (
            {"TRAINER_HOSTS": "a:1,b:1"},
            "TRAINER_HOSTS: names 2 workers, but JOB_COMPLETION_INDEX does not say which of them "
            "this is\n  an indexed Job of Kubernetes sets it",
        ),
        (
            slurm("node[2,10", "1(x2)", 0),
            "SLURM_STEP_NODELIST: cannot be read: ",
        ),
        (
            slurm("node[2-3]", "3", 0),
            "SLURM_STEP_NODELIST: cannot be read: ",
        ),
    ],
)
def test_what_makes_no_sense_is_said(environment: dict[str, str], message: str) -> None:
    with pytest.raises(UserError) as raised:
        cluster.found(environment)
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize("host", ["localhost", "[::1]"])
def test_workers_wait_for_each_other(host: str) -> None:
    if host != "localhost" and not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    ports = cluster.free_ports(3)
    here = tuple(f"{host}:{port}" for port in ports)
    met, over = [], threading.Event()

    def come(worker: int) -> None:
        cluster.meet(Cluster(here, worker, "test"), 20)
        met.append(worker)
        family = socket.AF_INET if host == "localhost" else socket.AF_INET6
        with socket.create_server(("", ports[worker]), family=family):  # as TensorFlow then does
            over.wait(20)

    workers = [threading.Thread(target=come, args=(worker,)) for worker in range(3)]
    for worker in workers:
        worker.start()
    until = time.monotonic() + 20
    while len(met) < 3 and time.monotonic() < until:
        time.sleep(0.02)
    over.set()
    for worker in workers:
        worker.join()
    assert sorted(met) == [0, 1, 2]


@pytest.mark.parametrize("strange", ["a..b", "a" * 70])
def test_what_can_be_no_host_does_not_come(strange: str) -> None:
    here = (f"localhost:{cluster.free_ports(1)[0]}", f"{strange}:1")
    with pytest.raises(Lost):
        cluster.meet(Cluster(here, 0, "test"), 0.1)


def test_a_worker_that_does_not_come_is_named() -> None:
    here = (*(f"localhost:{port}" for port in cluster.free_ports(2)), "nobody.invalid:1")
    with pytest.raises(Lost) as raised:
        cluster.meet(Cluster(here, 0, "test"), 0.3)
    assert str(raised.value) == (
        f"workers 1 ({here[1]}: connection refused), 2 (nobody.invalid:1: its name is not known "
        "here) did not appear within 0.3 s\n"
        "  are they started, and can this machine reach them? training.worker_timeout is how long "
        "to wait"
    )


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(UserError) as raised:
            cluster.meet(Cluster((f"localhost:{port}", "b:1"), 0, "test"), 1)
    assert str(raised.value) == (
        f"port {port} of this worker cannot be opened: Address already in use\n"
        "  does another training run here?"
    )
