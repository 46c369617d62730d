"""The recipes in launch/, with stand-ins for the tools of clusters, which are not here."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from faceshifter_jax import cli
from faceshifter_jax.training.config import parse_arguments

ROOT = Path(__file__).parents[1]
LAUNCH = ROOT / "launch"
NAMES = {
    **{"BUCKET": "pail", "TPU": "slice", "ZONE": "europe-west4-b", "PROJECT": "mine"},
    **{"CLUSTER": "herd", "IMAGE": "registry/faceshifter:1", "SLURM_JOB_ID": "7"},
}


@pytest.fixture
def launch(tmp_path):
    """Runs a recipe with arguments; returns its exit code and the commands that it gave."""
    log = tmp_path / "log"
    for name in ("gcloud", "xpk", "docker", "srun", "scontrol", "git"):
        stand_in = tmp_path / name
        # Each word ends with one byte, each command with another.
        stand_in.write_text(
            f'#!/bin/bash\n(printf "%s\\0" "{name}" "$@"; printf "\\1") >> {log}\n'
            f'[ "{name}" != srun ] || exit "${{SRUN_CODE:-0}}"\n'
        )
        stand_in.chmod(0o755)

    def run(script, *arguments, **environment):
        log.unlink(missing_ok=True)
        path = f"{tmp_path}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", LAUNCH / script, *arguments],
            env={"PATH": path, "HOME": str(tmp_path)} | NAMES | environment,
            capture_output=True, text=True, cwd=tmp_path, timeout=30, check=False,
        )  # fmt: skip
        commands = log.read_text().split("\1")[:-1] if log.exists() else []
        return done.returncode, [words.split("\0")[:-1] for words in commands]

    return run


def remote(flag):
    """The words of the training command in what a worker's shell is given, --command=..."""
    text = flag.removeprefix("--command=")
    subprocess.run(["bash", "-n", "-c", text], check=True, timeout=30)
    command = re.search(r"(?:python|faceshifter) train.*?(?= > |$)", text, re.MULTILINE)
    assert command, text
    return shlex.split(command[0].replace("$HOME", "/root"))


@pytest.mark.parametrize("script", sorted(LAUNCH.iterdir()), ids=lambda path: path.name)
def test_recipes_are_shell_scripts(script):
    subprocess.run(["bash", "-n", script], check=True, timeout=30)


def test_a_tpu_slice_from_its_making_to_its_end(launch, monkeypatch):
    monkeypatch.chdir(ROOT)
    code, (made, *copied) = launch("tpu_vm.sh", "bucket", "photos", "identity.safetensors")
    assert code == 0
    assert made[:5] == ["gcloud", "storage", "buckets", "create", "gs://pail"]
    assert {"--location=europe-west4", "--enable-hierarchical-namespace"} <= set(made)
    assert [words[-1] for words in copied] == ["gs://pail/photos", "gs://pail/identity.safetensors"]

    code, (created,) = launch("tpu_vm.sh", "create")
    assert (code, created[5]) == (0, "slice")
    assert "--spot" in created
    assert "--spot" not in launch("tpu_vm.sh", "create", CAPACITY="")[1][0]

    code, (packed, sent, installed) = launch("tpu_vm.sh", "install")
    assert (code, packed[:2], sent[4]) == (0, ["git", "archive"], "scp")
    (script,) = (word for word in installed if word.startswith("--command="))
    subprocess.run(["bash", "-n", "-c", script.partition("=")[2]], check=True, timeout=30)

    code, (trained,) = launch(
        "tpu_vm.sh", "train", "--config.num_steps=7", "--config.wandb=my faces"
    )
    assert code == 0
    assert {"--worker=all", "--zone=europe-west4-b"} <= set(trained)
    config, _ = parse_arguments(remote(trained[-1])[1:])
    assert (config.num_steps, config.wandb, config.distributed.mode) == (7, "my faces", "automatic")
    assert launch("tpu_vm.sh", "delete")[1][0][4:6] == ["delete", "slice"]


def test_a_cluster_of_kubernetes(launch, monkeypatch):
    monkeypatch.chdir(ROOT)
    place = {"--project=mine", "--zone=europe-west4-b", "--cluster=herd"}
    code, (built, pushed) = launch("gke_xpk.sh", "image")
    assert (code, built[-1], pushed) == (0, ".", ["docker", "push", "registry/faceshifter:1"])
    code, (attached,) = launch("gke_xpk.sh", "storage")
    assert code == 0
    assert place | {"--bucket=pail", "--mount-point=/bucket"} <= set(attached)
    code, (created,) = launch("gke_xpk.sh", "train", "--config.num_steps=7")
    assert code == 0
    assert place | {f"--storage={attached[3]}", "--workload=aei"} <= set(created)
    arguments = cli._parse(remote(created[-1])[1:])
    flags = [f"--config={arguments.config}", f"--workdir={arguments.workdir}"]
    config, workdir = parse_arguments(["train", *flags, *arguments.config_flags])
    assert (config.num_steps, workdir) == (7, "/bucket/runs/aei")
    assert launch("gke_xpk.sh", "delete")[1][0][:3] == ["xpk", "workload", "delete"]


def test_slurm_queues_a_job_again_that_was_stopped_and_saved(launch):
    flags = ["--config", "aei", "--workdir", "runs/aei", "--config.num_steps=7"]
    code, (run,) = launch("slurm.sbatch", *flags, VENV="/venv")
    assert code == 0
    assert run == [
        *("srun", "--gpu-bind=none", "/venv/bin/faceshifter", "train", *flags),
        "--config.distributed.mode=automatic",
    ]
    code, commands = launch("slurm.sbatch", *flags, SRUN_CODE="143")
    assert (code, commands[1:]) == (143, [["scontrol", "requeue", "7"]])
    code, commands = launch("slurm.sbatch", *flags, SRUN_CODE="2")
    assert (code, len(commands)) == (2, 1)


def test_what_is_missing_is_said(launch):
    assert launch("tpu_vm.sh", "create", BUCKET="")[0] == 1
    assert launch("tpu_vm.sh")[0] == 2
    assert launch("gke_xpk.sh", "sing")[0] == 2
    assert launch("gke_xpk.sh", "train", CLUSTER="")[0] == 1
