"""Workdirs of tiny training runs, for commands that swap and compare."""

from pathlib import Path

from tiny_tasks import aei_config, arcface_config, make_state

from faceshifter_jax.checkpoints.compatibility import build_meta
from faceshifter_jax.checkpoints.manager import Checkpoints
from faceshifter_jax.checkpoints.weights import read_weights
from faceshifter_jax.tasks import AEITask, ArcFaceTask


def save_networks(top: Path) -> tuple[Path, Path]:
    """Saves an AEI-Net and its identity network; returns their workdirs."""
    config = arcface_config()
    _save(top / "identity", config, make_state(ArcFaceTask(config), seed=5), {})
    identity = read_weights(top / "identity")
    frozen = {"identity": {"path": identity.directory, "sha256": identity.sha256}}
    config = aei_config()
    _save(top / "aei", config, make_state(AEITask(config)), frozen)
    return top / "aei", top / "identity"


def _save(workdir, config, state, frozen):
    with Checkpoints(workdir, keep_newest=1, keep_every_steps=0) as checkpoints:
        checkpoints.save(1, state, build_meta(config, dataset="none", frozen=frozen))
