"""Trained networks from real checkpoints of tiny training runs."""

import numpy as np
import pytest
from tiny_tasks import SIZE, aei_config, arcface_config, make_state, pair_batch

from faceshifter_jax.checkpoints.compatibility import build_meta
from faceshifter_jax.checkpoints.manager import Checkpoints
from faceshifter_jax.checkpoints.weights import read_weights
from faceshifter_jax.errors import UserError
from faceshifter_jax.swapping.stages import load_stages
from faceshifter_jax.tasks import AEITask, ArcFaceTask


def save(workdir, config, state, step=1, **frozen):
    with Checkpoints(workdir, keep_newest=2, keep_every_steps=0) as checkpoints:
        checkpoints.save(step, state, build_meta(config, dataset="none", frozen=frozen))


def save_identity(workdir, seed, step=1):
    config = arcface_config()
    save(workdir, config, make_state(ArcFaceTask(config), seed=seed), step)
    return read_weights(workdir)


@pytest.fixture(scope="module")
def workdirs(tmp_path_factory):
    """Workdirs of an AEI-Net and of the identity network that it was trained with."""
    top = tmp_path_factory.mktemp("trained")
    identity = save_identity(top / "identity", seed=5)
    config = aei_config()
    source = {"path": identity.directory, "sha256": identity.sha256}
    save(top / "aei", config, make_state(AEITask(config)), identity=source)
    return top / "aei", top / "identity"


def test_swaps_are_pictures_that_follow_source_and_target(workdirs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stages = load_stages(str(workdirs[0]))
    assert stages.generator.step == 1
    batch = pair_batch(2)
    result = stages.swap(batch["source"], batch["target"])
    assert result.shape == (2, SIZE, SIZE, 3)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(stages.swap(batch["source"], batch["target"]), result)
    assert not np.array_equal(stages.swap(batch["source"], batch["source"]), result)


def test_identity_network_may_train_on_or_move(workdirs):
    aei, identity = workdirs
    save_identity(identity, seed=6, step=2)
    load_stages(str(aei))
    load_stages(str(aei), str(identity / "checkpoints" / "1"))
    with pytest.raises(UserError, match=f"{identity} does not hold the identity network"):
        load_stages(str(aei), str(identity))


def test_identity_network_that_changed_is_refused(workdirs, tmp_path):
    other = save_identity(tmp_path / "other", seed=7)
    assert other.sha256 != read_weights(workdirs[1] / "checkpoints" / "1").sha256
    with pytest.raises(UserError, match="--identity") as error:
        load_stages(str(workdirs[0]), str(tmp_path / "other"))
    assert "\n" not in str(error.value)


def test_weights_of_another_task_are_no_aei_net(workdirs):
    with pytest.raises(UserError, match="not an AEI-Net"):
        load_stages(str(workdirs[1]))
