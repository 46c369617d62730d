"""Short real training runs: one that copies its targets gets a warning, one that swaps does not."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_tasks import SIZE, arcface_config, make_state

from faceshifter_jax.checkpoints.compatibility import build_meta
from faceshifter_jax.checkpoints.manager import Checkpoints
from faceshifter_jax.data import prepare_folder
from faceshifter_jax.tasks import ArcFaceTask

ROOT = Path(__file__).parents[2]
SETTINGS = {
    "image_size": SIZE,
    "num_steps": 150,
    "log_every_steps": 50,
    "health.warn_after_steps": 150,
    "health.window_steps": 50,
    "identity.embedding_size": 8,
    "model.encoder_channels": "(8,16,16)",
    "model.generator_channels": "(16,16,16,8)",
    "discriminator.width": 4,
    "discriminator.num_layers": 2,
    "data.same_identity_share": 0.0,
    "data.answer_share": 0.0,
    "loss.answer": 0.0,
    "loss.identity": 4.0,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Eight people of a colour each, four pictures of each with a light and a stripe of its own."""
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for person in range(8):
        colour = random.uniform(40, 200, 3)
        (folder / str(person)).mkdir()
        for number in range(4):
            picture = np.broadcast_to(colour, (SIZE, SIZE, 3)).copy()
            picture *= np.linspace(*random.uniform(0.6, 1.3, 2), SIZE)[:, None]
            picture[:, random.integers(SIZE)] = 255
            picture = np.clip(picture, 0, 255).astype(np.uint8)
            Image.fromarray(picture).save(folder / str(person) / f"{number}.png")
    return prepare_folder(folder, folder.parent / "data", size=SIZE, num_workers=1)


@pytest.fixture(scope="module")
def identity(tmp_path_factory):
    """An identity network that was never trained: it tells the colours apart."""
    workdir, config = tmp_path_factory.mktemp("identity"), arcface_config()
    state = make_state(ArcFaceTask(config), seed=5)
    with Checkpoints(workdir, keep_newest=1, keep_every_steps=0) as checkpoints:
        checkpoints.save(1, state, build_meta(config, dataset="none", frozen={}))
    return workdir


def train(workdir, data, identity, **changes):
    """Runs train.py; returns its warnings and the lines of its metrics."""
    settings = SETTINGS | {"data.path": data, "identity.weights": identity} | changes
    command = ["train.py", "--config", "configs/aei.py:demo", "--workdir", str(workdir)]
    done = subprocess.run(
        [sys.executable, *command, *(f"--config.{k}={v}" for k, v in settings.items())],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    warnings = [line for line in done.stdout.splitlines() if line.startswith("warning:")]
    assert "  nearer 0." in done.stdout or "  nearer 1 " in done.stdout
    return warnings, [json.loads(line) for line in lines]


@pytest.mark.slow
def test_a_training_without_identity_loss_is_told_that_it_copies(data, identity, tmp_path):
    warnings, lines = train(tmp_path, data, identity, **{"loss.identity": 0.0})
    assert lines[-1]["nearer_source"] < 0.5
    assert lines[-1]["target_cosine"] > lines[-1]["source_cosine"]
    assert len(warnings) == 1, warnings
    assert warnings[0].startswith("warning: after 150 steps")
    assert "raise config.loss.identity (now 0)" in warnings[0]


@pytest.mark.slow
def test_a_training_that_swaps_is_told_nothing(data, identity, tmp_path):
    warnings, lines = train(tmp_path, data, identity)
    assert warnings == []
    assert lines[-1]["nearer_source"] > 0.5
    assert 0 < lines[-1]["generator_gradient_norm"] < np.inf


@pytest.mark.slow
def test_a_discriminator_that_wins_outright_is_pointed_out(data, identity, tmp_path):
    rates = {f"optimizer.{player}.learning_rate": rate
             for player, rate in (("generator", 1e-9), ("discriminator", 1e-2))}  # fmt: skip
    limit = {"health.discriminator_accuracy": 0.85}
    warnings, lines = train(tmp_path, data, identity, **rates, **limit)
    assert min(lines[-1]["real_accuracy"], lines[-1]["fake_accuracy"]) > 0.85
    told = [warning for warning in warnings if "the discriminator wins outright" in warning]
    assert len(told) == 1, warnings
    assert "lower config.optimizer.discriminator.learning_rate (now 0.01)" in told[0]
