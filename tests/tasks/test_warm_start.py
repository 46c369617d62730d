"""Trainings that begin with trained networks."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from tiny_tasks import SIZE, aei_config, arcface_config, identity_weights, make_state, networks_of

from faceshifter_jax.errors import UserError
from faceshifter_jax.networks.network import Weights
from faceshifter_jax.tasks import AEITask, ArcFaceTask
from faceshifter_jax.tasks.warm_start import choose_networks, start_from


def trained(roles=("generator", "discriminator"), **changes):
    """What a reader returns for a training run of another seed, or its networks named `roles`."""
    config = aei_config()
    with config.unlocked():
        config.update_from_flattened_dict(changes)
    task = AEITask(config)
    state = make_state(task, seed=8)
    params = {**state.params, **state.ema_params}
    networks = networks_of(task, params, state.batch_stats)
    return Weights({role: networks[role] for role in roles}, "runs/before")


def start(task, *sources):
    networks, lines = choose_networks(task, sources)
    begin = functools.partial(start_from, parts=task.networks())
    return jax.jit(begin)(make_state(task), networks), lines


def assert_equal(ours, theirs):
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_weights_their_average_and_statistics_are_the_trained_ones():
    task, source = AEITask(aei_config()), trained()
    fresh = make_state(task)
    state, lines = start(task, source)
    for role in ("generator", "discriminator"):
        assert_equal(state.params[role], source.networks[role].variables["params"])
    generator = source.networks["generator"].variables
    assert_equal(state.ema_params["generator"], generator["params"])
    assert_equal(state.batch_stats["generator"], generator["batch_stats"])
    assert_equal(state.opt_state, fresh.opt_state)
    assert jax.tree.structure(state) == jax.tree.structure(fresh)
    assert lines == [
        "starting from: generator of runs/before",
        "starting from: discriminator of runs/before",
    ]


def test_parameters_and_their_average_can_both_be_donated():
    state, _ = start(AEITask(aei_config()), trained())
    jax.jit(lambda state: jax.tree.map(lambda x: x + 1, state), donate_argnums=0)(state)


def test_a_missing_discriminator_is_fresh_and_said_to_be():
    task = AEITask(aei_config())
    state, lines = start(task, trained(roles=("generator",)))
    assert_equal(state.params["discriminator"], make_state(task).params["discriminator"])
    assert lines[1] == "starting from: no discriminator in config.init_from, so a fresh one"


def test_two_files_give_a_network_each():
    task = AEITask(aei_config())
    one, other = trained(roles=("generator",)), trained(roles=("discriminator",))
    state, _ = start(task, one, other)
    assert_equal(state.params["discriminator"], other.networks["discriminator"].variables["params"])


def refuse(task, source, *messages):
    with pytest.raises(UserError) as error:
        choose_networks(task, [source])
    for message in messages:
        assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_another_network_is_refused_with_its_keys_shapes_and_settings():
    source = trained(**{"model.aad.attribute_kernel": 3})
    refuse(
        AEITask(aei_config()),
        source,
        "the AEINet in runs/before is not the one of the config",
        "params/generator/block_0/aad_0/beta_att/kernel is (3, 3, 6, 6), not (1, 1, 6, 6)",
        "more",
        "it needs --config.model.aad.attribute_kernel=3",
    )


def test_keys_that_only_one_of_them_has_are_named():
    source = trained(**{"model.aad.conv_bias": True})
    refuse(
        AEITask(aei_config()), source, "conv_0/bias is (6,), not in the config", "conv_bias=True"
    )
    source = trained(**{"model.encoder_bias": False})
    config = aei_config()
    config.model.encoder_bias = True
    refuse(AEITask(config), source, "down_0/bias is missing, not (4,)")


def test_settings_that_no_shape_shows_are_refused_too():
    source = trained(**{"model.output": "sigmoid"})
    refuse(AEITask(aei_config()), source, "config: it needs --config.model.output=sigmoid")


def test_settings_that_a_network_does_not_have_yet_are_those_of_its_time():
    source = trained()
    settings = {"model": source.networks["generator"].settings}
    for missing in ("output", "generator_up", "identity_length"):
        settings["model"].pop(missing)
    config = aei_config()
    choose_networks(AEITask(config), [source])
    config.model.output = "change"
    config.model.generator_up = "centres"
    config.model.identity_length = "sqrt"
    refuse(
        AEITask(config),
        source,
        "--config.model.generator_up=corners",
        "--config.model.identity_length=unit",
        "--config.model.output=tanh",
    )


def test_embeddings_of_another_length_are_refused():
    refuse(
        AEITask(aei_config()),
        trained(**{"identity.embedding_size": 16}),
        "gamma_id/kernel is (16, 6), not (8, 6)",
        "--config.identity.embedding_size=16",
    )


def test_pictures_of_another_size_are_refused_with_the_setting():
    source = trained(image_size=64)
    refuse(AEITask(aei_config()), source, "start/kernel is", "--config.image_size=64")


def test_another_kind_of_identity_network_is_refused():
    source = identity_weights()
    mobile = dataclasses.replace(source.networks["identity"], architecture="MobileFaceNet")
    source.networks["identity"] = mobile
    message = "runs/identity holds a MobileFaceNet, this training run trains IResNet"
    refuse(ArcFaceTask(arcface_config()), source, message)


def test_weights_without_a_network_of_the_task_are_refused():
    refuse(
        AEITask(aei_config()),
        identity_weights(),
        "holds an identity network",
        "generator or discrim",
    )


def test_an_identity_network_goes_on_with_other_people():
    config = arcface_config()
    config.model.num_classes = 9
    task, source = ArcFaceTask(config), identity_weights()
    state, lines = start(task, source)
    variables = source.networks["identity"].variables
    assert_equal(state.params["classifier"]["network"], variables["params"])
    assert_equal(state.ema_params["classifier"]["network"], variables["params"])
    assert_equal(state.batch_stats["classifier"], variables["batch_stats"])
    assert state.params["classifier"]["centres"].shape == (9, 8)
    assert "fresh" in lines[-1]
    config.model.input_size = 32
    refuse(ArcFaceTask(config), source, "not")


LARGER = {
    "image_size": 2 * SIZE,
    "model.encoder_channels": (2, 4, 6),
    "model.generator_channels": (6, 6, 4, 2),
}


def larger_task(**changes):
    config = aei_config()
    with config.unlocked():
        config.update_from_flattened_dict({**LARGER, **changes})
    return AEITask(config)


def test_network_for_larger_pictures_begins_with_the_levels_of_a_smaller_one():
    source, task = trained(), larger_task()
    fresh = make_state(task)
    state, lines = start(task, source)
    assert lines == [
        "starting from: generator of runs/before",
        "the generator grows to 64 pixels: block_2, block_3, down_0, down_1, down_norm_0, up_1, "
        "up_norm_1 are fresh",
        "starting from: discriminator of runs/before",
    ]
    old, new = source.networks["generator"].variables, state.params["generator"]
    # One level further from the picture than before; the first two meet other channels.
    assert_equal(new["encoder"]["down_2"], old["params"]["encoder"]["down_1"])
    assert_equal(new["encoder"]["up_0"], old["params"]["encoder"]["up_0"])
    assert_equal(new["encoder"]["down_0"], fresh.params["generator"]["encoder"]["down_0"])
    for name in ("start", "start_bias", "block_0", "block_1"):
        assert_equal(new["generator"][name], old["params"]["generator"][name])
    assert_equal(new["generator"]["block_3"], fresh.params["generator"]["generator"]["block_3"])
    assert_equal(state.ema_params["generator"], new)
    assert_equal(
        state.batch_stats["generator"]["encoder"]["down_norm_1"],
        old["batch_stats"]["encoder"]["down_norm_0"],
    )
    assert jax.tree.structure(state) == jax.tree.structure(fresh)
    assert jax.tree.map(np.shape, state) == jax.tree.map(np.shape, fresh)


def test_network_that_differs_in_more_than_outer_levels_does_not_grow():
    with pytest.raises(UserError, match=r"it needs --config\.model\.aad\.norm=instance"):
        start(larger_task(**{"model.aad.norm": "robust"}), trained())
    with pytest.raises(UserError, match=r"it needs .*--config\.model\.encoder_channels='\(4,6\)'"):
        start(larger_task(**{"model.encoder_channels": (2, 5, 6)}), trained())
