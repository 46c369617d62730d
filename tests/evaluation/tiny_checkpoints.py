"""Real checkpoints of tiny networks that were never trained."""

from tiny_tasks import aei_config, arcface_config, hear_config, make_state

from faceshifter_jax.checkpoints.compatibility import build_meta
from faceshifter_jax.checkpoints.manager import Checkpoints
from faceshifter_jax.checkpoints.weights import read_weights
from faceshifter_jax.networks.network import Weights
from faceshifter_jax.tasks import AEITask, ArcFaceTask, HEARTask


def save(workdir, config, state, step=1, **frozen) -> None:
    with Checkpoints(workdir, keep_newest=2, keep_every_steps=0) as checkpoints:
        checkpoints.save(step, state, build_meta(config, dataset="none", frozen=frozen))


def save_identity(workdir, seed, step=1) -> Weights:
    config = arcface_config()
    save(workdir, config, make_state(ArcFaceTask(config), seed=seed), step)
    return read_weights(workdir)


def save_aei(workdir, identity: Weights, step=1, seed=0, alignment="arcface") -> None:
    """An AEI-Net that belongs to an identity network."""
    config = aei_config()
    config.data.alignment = alignment
    source = {"path": identity.directory, "sha256": identity.sha256}
    save(workdir, config, make_state(AEITask(config), seed=seed), step, identity=source)


def save_hear(workdir, identity: Weights, aei: Weights) -> None:
    """A HEAR-Net that belongs to both."""
    config = hear_config()
    sources = {
        name: {"path": weights.directory, "sha256": weights.sha256}
        for name, weights in {"identity": identity, "aei": aei}.items()
    }
    save(workdir, config, make_state(HEARTask(config)), **sources)
