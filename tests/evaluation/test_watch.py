"""`faceshifter evaluate --watch`: each checkpoint once, whatever happens in between."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_checkpoints import save_aei, save_hear, save_identity

from faceshifter_jax import cli
from faceshifter_jax.checkpoints.weights import read_weights
from faceshifter_jax.data import prepare_embedded

ROOT = Path(__file__).parents[2]
COUNTS = ("--pairs", "4", "--identities", "2")


def steps_of(output):
    ledger = output / "evaluations.jsonl"
    if not ledger.exists():
        return []
    return [json.loads(line)["step"] for line in ledger.read_text().splitlines()]


def watch(workdir, judge, *more):
    words = ["evaluate", "--watch", "--poll-seconds", "0.1", "--checkpoint", str(workdir)]
    return cli.main([*words, "--judge", str(judge), *COUNTS, *more])


@pytest.fixture
def ended(tmp_path):
    """A training that ended with step 3, two checkpoints of which are left; and its judge."""
    identity = save_identity(tmp_path / "identity", seed=5)
    save_identity(tmp_path / "judge", seed=6)
    for step in (2, 3):
        save_aei(tmp_path / "aei", identity, step=step, seed=step)
    (tmp_path / "aei" / "config.json").write_text(json.dumps({"num_steps": 3}))
    return tmp_path / "aei", tmp_path / "judge"


def test_every_checkpoint_once_and_again_nothing(ended, capfd):
    workdir, judge = ended
    output = workdir / "evaluation" / "ground-truth"
    assert watch(workdir, judge) == 0
    assert steps_of(output) == [2, 3]
    kept = [json.loads(p.read_text()) for p in sorted(output.glob("steps/*/metrics.json"))]
    assert [metrics["step"] for metrics in kept] == [2, 3]
    assert kept[0]["psnr_swap"] != kept[1]["psnr_swap"]
    assert json.loads((output / "metrics.json").read_text()) == kept[1]
    assert "Over the steps" in (output / "report.html").read_text()
    printed = capfd.readouterr().out
    assert "step 2: gain over copying" in printed
    assert "the training run has ended with step 3" in printed

    assert watch(workdir, judge) == 0
    assert steps_of(output) == [2, 3]

    # Killed while it wrote the last line: that one is made again, and stands there once.
    ledger = output / "evaluations.jsonl"
    ledger.write_text(ledger.read_text()[:-20])
    assert watch(workdir, judge) == 0
    assert steps_of(output) == [2, 3]

    # A damaged checkpoint is named and left out, and does not keep the watch from its end.
    metadata = workdir / "checkpoints" / "2" / "meta" / "metadata"
    metadata.write_text(metadata.read_text()[:100])
    ledger.unlink()
    assert watch(workdir, judge) == 0
    assert steps_of(output) == [3]
    assert "left out step 2: the checkpoint" in capfd.readouterr().out


def test_another_training_of_the_same_name_is_another_evaluation(ended, tmp_path, capfd):
    workdir, judge = ended
    output = str(workdir / "evaluation" / "ground-truth")
    identity = read_weights(tmp_path / "identity")
    save_aei(tmp_path / "again" / "aei", identity, step=3, seed=9)
    (tmp_path / "again" / "aei" / "config.json").write_text(json.dumps({"num_steps": 3}))
    # The last checkpoint comes first: it stays on top of the one before it.
    last = workdir / "checkpoints" / "3"
    assert cli.main(["evaluate", "--checkpoint", str(last), "--judge", str(judge), *COUNTS]) == 0
    assert watch(workdir, judge) == 0
    assert steps_of(Path(output)) == [3, 2]
    assert json.loads((Path(output) / "metrics.json").read_text())["step"] == 3
    before, after = (str(workdir / "checkpoints" / step) for step in "23")
    assert cli.main(["compare", before, after]) == 0
    assert "aei@2" in capfd.readouterr().out

    assert watch(tmp_path / "again" / "aei", judge, "--output", output) == 0
    assert steps_of(Path(output)) == [3, 2, 3]


@pytest.mark.slow
def test_every_checkpoint_with_the_same_second_stage(ended, tmp_path):
    workdir, judge = ended
    save_hear(tmp_path / "hear", read_weights(tmp_path / "identity"), read_weights(workdir))
    assert watch(workdir, judge) == 0
    for _ in range(2):
        assert watch(workdir, judge, "--hear", str(tmp_path / "hear")) == 0
        assert steps_of(workdir / "evaluation" / "ground-truth") == [2, 3, 2, 3]


def test_bad_input_of_a_watch(ended, tmp_path, capfd):
    workdir, judge = ended
    for path, reason in {
        workdir / "checkpoints" / "3": "needs the workdir of a training",
        judge: "not an AEI-Net",
    }.items():
        assert watch(path, judge, "--output", str(tmp_path / "out")) == 2
        assert reason in capfd.readouterr().err
    assert watch(workdir, judge, "--poll-seconds", "0") == 2
    assert "--poll-seconds must be above 0" in capfd.readouterr().err


SETTINGS = (
    *("num_steps=6", "save_every_steps=2", "log_every_steps=1", "batch_size=4", "image_size=32"),
    *("model.encoder_channels=(4,4)", "model.generator_channels=(8,8,4)", "keep_checkpoints=10"),
    *("discriminator.width=4", "discriminator.num_layers=1", "identity.embedding_size=8"),
    *("data.answer_share=0.0", "loss.answer=0.0"),
)


@pytest.mark.slow
def test_a_real_training_is_watched_by_a_process_that_is_killed(tmp_path):
    save_identity(tmp_path / "identity", seed=5)
    save_identity(tmp_path / "judge", seed=6)
    data = prepare_embedded(
        tmp_path / "data", num_identities=3, pictures_per_identity=2, size=32, num_workers=1
    )
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    workdir, output = tmp_path / "aei", tmp_path / "out"

    def start(*words):
        return subprocess.Popen(
            [sys.executable, *map(str, words)], cwd=ROOT, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def start_watch():
        words = ("evaluate", "--watch", "--poll-seconds", "0.2", "--checkpoint", workdir)
        more = ("--judge", tmp_path / "judge", "--output", output, *COUNTS)
        return start("-m", "faceshifter_jax.cli", *words, *more)

    def start_training(num_steps):
        flags = [f"--config.{setting}" for setting in SETTINGS]
        flags += [f"--config.data.path={data}", f"--config.num_steps={num_steps}"]
        flags += [f"--config.identity.weights={tmp_path / 'identity'}"]
        return start("train.py", "--config", "configs/aei.py:demo", "--workdir", workdir, *flags)

    def wait_for(steps, process):
        end = time.monotonic() + 240
        while len(steps_of(output)) < steps and time.monotonic() < end:
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.05)

    # The watch starts first and waits for a training run that does not exist yet.
    killed, training = start_watch(), start_training(6)
    wait_for(1, killed)
    killed.kill()
    killed.communicate()
    _, errors = training.communicate(timeout=300)
    assert training.returncode == 0, errors
    before = steps_of(output)
    assert before[:1] == [2]

    again = start_watch()
    printed, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    assert steps_of(output) == [2, 4, 6]
    assert "the training run has ended with step 6" in printed
    assert [int(path.name) for path in sorted((output / "steps").iterdir())] == [2, 4, 6]
