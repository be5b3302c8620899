"""The files under docs/examples: whole, and of one mind about who the workers are."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

EXAMPLES = Path(__file__).parent.parent / "docs/examples"
SBATCH = EXAMPLES / "slurm.sbatch"


@pytest.fixture
def service() -> dict[str, Any]:
    return _documents()[0]


@pytest.fixture
def job() -> dict[str, Any]:
    return _documents()[1]


def _documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text()))


def _pod(job: dict[str, Any]) -> dict[str, Any]:
    return job["spec"]["template"]["spec"]


def test_the_kinds(service: dict[str, Any], job: dict[str, Any]) -> None:
    assert (service["apiVersion"], service["kind"]) == ("v1", "Service")
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")


def test_each_host_is_a_pod_of_the_job(service: dict[str, Any], job: dict[str, Any]) -> None:
    """An indexed Job calls pod i JOB-i, and a headless Service of its subdomain gives it a name."""
    name, spec, pod = job["metadata"]["name"], job["spec"], _pod(job)
    assert spec["completionMode"] == "Indexed"
    assert spec["completions"] == spec["parallelism"] > 1
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["selector"] == {"job-name": name}
    assert pod["subdomain"] == service["metadata"]["name"]
    [container] = pod["containers"]
    [port] = [each["containerPort"] for each in container["ports"]]
    assert [each["port"] for each in service["spec"]["ports"]] == [port]
    [hosts] = [each["value"] for each in container["env"] if each["name"] == "TRAINER_HOSTS"]
    expected = [f"{name}-{i}.{pod['subdomain']}:{port}" for i in range(spec["completions"])]
    assert hosts.split(",") == expected


def test_a_pod_that_starts_again_goes_on(job: dict[str, Any]) -> None:
    pod = _pod(job)
    [container] = pod["containers"]
    assert container["command"][:2] == ["trainer", "fit"]
    assert "--resume" in container["command"]
    assert pod["restartPolicy"] == "Never"  # podFailurePolicy takes no other
    assert job["spec"]["backoffLimit"] > 0
    assert pod["terminationGracePeriodSeconds"] >= 60
    ours = [each["onExitCodes"] for each in job["spec"]["podFailurePolicy"]["rules"][:1]]
    assert ours == [{"containerName": container["name"], "operator": "In", "values": [2, 3]}]


def test_what_is_mounted_is_there(job: dict[str, Any]) -> None:
    pod = _pod(job)
    [container] = pod["containers"]
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert list(mounts) == [volume["name"] for volume in pod["volumes"]]
    assert all("persistentVolumeClaim" in volume for volume in pod["volumes"])
    assert container["workingDir"] in mounts.values()


def test_the_sbatch_file_is_a_shell_script() -> None:
    assert SBATCH.read_text().startswith("#!/bin/bash\n")
    done = subprocess.run(["bash", "-n", SBATCH], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_its_directives() -> None:
    """SLURM reads none after the first command, and takes what it does not know for a comment."""
    lines = SBATCH.read_text().splitlines()
    found = [line for line in lines if "SBATCH" in line and "#SBATCH" in line]
    head = [line for line in lines[: lines.index("")] if line.startswith("#SBATCH ")]
    assert found == head
    wanted = {}
    for line in head:
        match = re.fullmatch(r"#SBATCH --([a-z-]+)(?:=(\S+))?", line)
        assert match, line
        wanted[match[1]] = match[2]
    assert len(wanted) == len(head)
    assert int(wanted["nodes"]) > 1
    assert wanted["ntasks-per-node"] == "1"
    assert re.fullmatch(r"TERM@\d+", wanted["signal"])
    assert {"requeue", "time", "cpus-per-task"} <= set(wanted)
    assert wanted["open-mode"] == "append"  # else a job that is requeued loses its log


SRUN = """\
#!/bin/bash
echo "srun $*"
exit {code}
"""


@pytest.mark.parametrize(
    ("code", "state", "requeued"),
    [(0, "RUNNING", False), (143, "RUNNING", True), (143, "COMPLETING", False), (2, "RUNNING", False)],
)  # fmt: skip
def test_only_a_training_whose_time_was_up_is_requeued(
    code: int, state: str, requeued: bool, tmp_path: Path
) -> None:
    """With stand-ins for SLURM's own commands."""
    for name, text in {
        "srun": SRUN.format(code=code),
        "squeue": f"#!/bin/bash\necho {state}\n",
        "scontrol": '#!/bin/bash\necho "scontrol $*"\n',
    }.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    where = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_ID": "17"}
    done = subprocess.run(
        ["bash", SBATCH, "a b.yaml"], capture_output=True, text=True, env=where, check=False
    )
    started = "srun --kill-on-bad-exit=0 --label trainer fit a b.yaml --resume\n"
    assert done.stdout == started + "scontrol requeue 17\n" * requeued
    assert done.returncode == code


def test_the_sbatch_file_wants_a_config() -> None:
    done = subprocess.run(["bash", SBATCH], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "usage: sbatch slurm.sbatch CONFIG" in done.stderr
