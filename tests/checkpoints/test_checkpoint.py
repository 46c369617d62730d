import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import SingleDeviceSharding
from toy import FACTORIES, ToyTask, toy_config

from faceshifter_jax.checkpoints.compatibility import build_meta, config_to_json
from faceshifter_jax.checkpoints.manager import Checkpoints
from faceshifter_jax.checkpoints.weights import read_weights
from faceshifter_jax.errors import UserError
from faceshifter_jax.training.train import train


def toy_meta():
    return build_meta(toy_config(), dataset="toy", frozen={})


def save(workdir, steps, *, meta=None, state=None, keep_newest=2, keep_every_steps=0):
    state = ToyTask(toy_config()).init(jax.random.key(0)) if state is None else state
    with Checkpoints(
        workdir, keep_newest=keep_newest, keep_every_steps=keep_every_steps
    ) as checkpoints:
        for step in steps:
            checkpoints.save(step, state, toy_meta() if meta is None else meta)
    return state


def kept_steps(workdir):
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir())


def test_the_newest_and_every_nth_checkpoint_stay(tmp_path):
    save(tmp_path, range(1, 11), keep_newest=2, keep_every_steps=4)
    assert kept_steps(tmp_path) == [4, 8, 9, 10]
    save(tmp_path / "newest only", range(1, 6))
    assert kept_steps(tmp_path / "newest only") == [4, 5]


def restore(workdir, shapes):
    sharding = SingleDeviceSharding(jax.devices()[0])
    placed = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), shapes
    )
    with Checkpoints(workdir, keep_newest=2, keep_every_steps=0) as checkpoints:
        return checkpoints.restore(checkpoints.latest_step(), placed)


def test_restored_state_has_the_same_structure_dtypes_and_bits(tmp_path):
    state = save(tmp_path, [3])
    restored = restore(tmp_path, jax.eval_shape(lambda: state))
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    for new, old in zip(jax.tree.leaves(restored), jax.tree.leaves(state), strict=True):
        assert new.dtype == old.dtype
        np.testing.assert_array_equal(new, old)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda params: {**params, "mix": jnp.zeros((3, 7))},
            r"params/generator/mix is float32\[3, 3\], not float32\[3, 7\]",
        ),
        (
            lambda params: {**params, "mix": params["mix"].astype(jnp.bfloat16)},
            r"params/generator/mix is float32\[3, 3\], not bfloat16\[3, 3\]",
        ),
        (
            lambda params: {**params, "new": jnp.zeros(2)},
            r"params/generator/new is missing, not float32\[2\]",
        ),
        (
            lambda params: {"back": params["back"]},
            r"params/generator/mix is float32\[3, 3\], not in the model",
        ),
    ],
)
def test_other_shapes_dtypes_or_keys_are_named(change, message, tmp_path):
    state = save(tmp_path, [3])
    params = {"generator": change(state.params["generator"])}
    expected = jax.eval_shape(lambda: state.replace(params=params))
    with pytest.raises(UserError, match=message) as error:
        restore(tmp_path, expected)
    assert "\n" not in str(error.value)


def test_weights_are_the_averages_and_the_config_keeps_its_tuples(tmp_path):
    state = ToyTask(toy_config()).init(jax.random.key(0))
    params = {"generator": state.params["generator"], "discriminator": {"w": jnp.arange(3.0)}}
    averages = {"generator": jax.tree.map(lambda leaf: leaf + 1, params["generator"])}
    stats = {"generator": {"mean": jnp.ones(3)}, "discriminator": {}}
    save(
        tmp_path,
        [5, 7],
        state=state.replace(params=params, ema_params=averages, batch_stats=stats),
    )
    weights = read_weights(tmp_path)
    assert weights.step == 7
    assert weights.path == str(tmp_path)
    assert weights.directory == str(tmp_path / "checkpoints" / "7")
    assert weights.config["model"] == {"width": 3, "levels": (1, 2)}
    np.testing.assert_array_equal(weights.params["discriminator"]["w"], [0, 1, 2])
    np.testing.assert_array_equal(
        weights.params["generator"]["mix"], params["generator"]["mix"] + 1
    )
    np.testing.assert_array_equal(weights.batch_stats["generator"]["mean"], [1, 1, 1])
    assert read_weights(tmp_path / "checkpoints" / "5").step == 5
    assert read_weights(tmp_path / "checkpoints" / "5").sha256 == weights.sha256
    averages["generator"]["mix"] = averages["generator"]["mix"].at[0, 0].add(1e-6)
    save(tmp_path, [9], state=state.replace(params=params, ema_params=averages))
    assert read_weights(tmp_path).sha256 != weights.sha256


def test_places_without_weights_are_named(tmp_path):
    with pytest.raises(UserError, match="there is no such directory or file"):
        read_weights(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no training run has saved a checkpoint"):
        read_weights(tmp_path)
    save(tmp_path, [2])
    (tmp_path / "checkpoints" / "2").rename(tmp_path / "checkpoints" / "2.orbax-checkpoint-tmp-0")
    with pytest.raises(UserError, match="no training run has saved a checkpoint"):
        read_weights(tmp_path)


@pytest.mark.parametrize("part", ["state", "meta"])
def test_half_a_checkpoint_is_named(part, tmp_path):
    save(tmp_path, [2])
    (tmp_path / "checkpoints" / "2" / part).rename(tmp_path / "moved")
    with pytest.raises(UserError, match=rf"checkpoints/2 is damaged, it has no '{part}'"):
        read_weights(tmp_path)
    with (
        Checkpoints(tmp_path, keep_newest=2, keep_every_steps=0) as checkpoints,
        pytest.raises(UserError, match=f"it has no '{part}'"),
    ):
        checkpoints.read_meta(2)


def test_looking_for_checkpoints_makes_no_directory(tmp_path):
    with Checkpoints(tmp_path / "run", keep_newest=2, keep_every_steps=0) as checkpoints:
        assert checkpoints.latest_step() is None
    assert not (tmp_path / "run").exists()


def test_unknown_format_is_refused(tmp_path):
    save(tmp_path, [2], meta={**toy_meta(), "format_version": 99})
    with pytest.raises(UserError, match="has checkpoint format 99"):
        read_weights(tmp_path)
    with (
        Checkpoints(tmp_path, keep_newest=2, keep_every_steps=0) as checkpoints,
        pytest.raises(UserError, match="has checkpoint format 99"),
    ):
        checkpoints.read_meta(2)


@pytest.mark.parametrize("change", ["checksum", "layout"])
def test_later_format_is_refused_and_not_taken_for_damage(change, tmp_path):
    save(tmp_path, [1, 2])
    newest = tmp_path / "checkpoints" / "2"
    file = newest / "meta" / "metadata"
    other = {"meta_checksum": "sha256:abc"} if change == "checksum" else {}
    file.write_text(json.dumps({**json.loads(file.read_text()), "format_version": 2, **other}))
    if change == "layout":
        (newest / "state").rename(newest / "arrays")
    with pytest.raises(UserError, match="checkpoints/2 has checkpoint format 2"):
        train(toy_config(), tmp_path, **FACTORIES)
    assert kept_steps(tmp_path) == [1, 2]


def test_checkpoint_that_is_not_there_is_not_called_damaged(tmp_path):
    with (
        Checkpoints(tmp_path, keep_newest=2, keep_every_steps=0) as checkpoints,
        pytest.raises(UserError, match=r"there is no checkpoint at .*checkpoints/2$"),
    ):
        checkpoints.read_meta(2)


def test_config_that_json_does_not_know_fails_at_once():
    config = toy_config()
    with config.unlocked():
        config.scale = np.float32(1)
    with pytest.raises(TypeError):
        config_to_json(config)
