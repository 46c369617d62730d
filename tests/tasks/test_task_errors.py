"""Settings that cannot work: one clear line each, before anything is computed."""

import jax
import numpy as np
import pytest
from tiny_tasks import aei_config, arcface_config, identity_weights, read_config

from faceshifter_jax.errors import UserError
from faceshifter_jax.tasks import build_task
from faceshifter_jax.tasks.optimizer import build_schedule


def change(config, key, value):
    with config.unlocked():
        config.update_from_flattened_dict({key: value})
    return config


@pytest.mark.parametrize(
    ("make", "key", "value", "message"),
    [
        (aei_config, "task", "hear2", r"config.task must be one of \['aei', 'arcface', 'hear'"),
        (aei_config, "compute_dtype", "float16", "config.compute_dtype must be one of"),
        (arcface_config, "compute_dtype", "half", "config.compute_dtype must be one of"),
        (aei_config, "remat", "all", "config.remat must be 'none' or 'aad', not 'all'"),
        (aei_config, "accumulate_steps", 0, "accumulate_steps is 0: it must divide"),
        (arcface_config, "accumulate_steps", 3, "3: it must divide config.batch_size=32"),
        (aei_config, "image_size", 34, "must be a multiple of 4"),
        (aei_config, "optimizer.generator.schedule", "step", "'constant' or 'cosine'"),
        (aei_config, "optimizer.discriminator.schedule", "", "'constant' or 'cosine'"),
        (arcface_config, "optimizer.schedule", "linear", "'constant' or 'cosine'"),
        (arcface_config, "model.num_classes", 1, "at least two identities"),
        (aei_config, "discriminator.layers", 2, "has no setting 'layers'"),
        (aei_config, "model.encoder_width", 2, "has no setting 'encoder_width'"),
        (aei_config, "model.aad.kernel", 3, "has no setting 'kernel'"),
        (arcface_config, "model.widht", 3, "has no setting 'widht'"),
        (arcface_config, "model.width", 0, "model.width must be at least 1, not 0"),
        (arcface_config, "model.input_size", -1, "model.input_size must be at least 1, not -1"),
        (aei_config, "discriminator.num_scales", 0, "discriminator.num_scales must be at least 1"),
        (aei_config, "model.aad.num_units", 0, "model.aad.num_units must be at least 1, not 0"),
        (
            aei_config,
            "model.encoder_channels",
            (4, 0),
            r"channels must be at least 1, not \(4, 0\)",
        ),
    ],
)
def test_wrong_setting(make, key, value, message):
    config = change(make(), key, value)

    def use():
        jax.eval_shape(build_task(config).init, jax.random.key(0))

    with pytest.raises(UserError, match=message) as error:
        use()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("make", "key", "value"),
    [
        (aei_config, "model.encoder_skip", "mean"),
        (aei_config, "model.output", "relu"),
        (aei_config, "model.aad.norm", "layer"),
        (aei_config, "model.generator_channels", (6, 6)),
        (arcface_config, "model.depth", 20),
        (arcface_config, "model.variant", "vgg"),
        (aei_config, "model.aad.attribute_kernel", 2),
        (aei_config, "model.aad.mask_kernel", 4),
        (aei_config, "model.aad.num_units", 0),
        (aei_config, "model.aad.num_units", 4),
    ],
)
def test_wrong_choice_in_a_network_names_what_it_can_be(make, key, value):
    config = change(make(), key, value)
    with pytest.raises(UserError, match="must be") as error:
        jax.eval_shape(build_task(config).init, jax.random.key(0))
    assert "\n" not in str(error.value)


def test_missing_identity_weights_say_how_to_get_some():
    task = build_task(change(aei_config(), "identity.weights", ""))
    with pytest.raises(UserError, match=r"configs/arcface\.py") as error:
        task.frozen_sources()
    assert "config.identity.weights" in str(error.value)


def test_frozen_sources_name_the_weights():
    task = build_task(change(aei_config(), "identity.weights", "runs/some"))
    assert task.frozen_sources() == {"identity": "runs/some"}


def test_weights_of_another_task_are_refused():
    weights = identity_weights()
    weights.networks["generator"] = weights.networks.pop("identity")
    with pytest.raises(UserError, match="runs/identity holds a generator network, not an iden"):
        build_task(aei_config()).load_frozen({"identity": weights})


def test_weights_of_another_shape_are_named():
    weights = identity_weights()
    weights.networks["identity"].variables["params"]["stem"]["kernel"] = np.zeros((5, 5, 3, 4))
    with pytest.raises(UserError, match="params/stem/kernel has shape"):
        build_task(aei_config()).load_frozen({"identity": weights})


def test_embedding_of_another_size_says_what_to_set():
    task = build_task(change(aei_config(), "identity.embedding_size", 16))
    with pytest.raises(UserError, match=r"--config\.identity\.embedding_size=8"):
        task.load_frozen({"identity": identity_weights()})


def test_schedules():
    settings = {"learning_rate": 2.0, "warmup_steps": 4}
    constant = build_schedule({**settings, "schedule": "constant"}, 12)
    cosine = build_schedule({**settings, "schedule": "cosine"}, 12)
    np.testing.assert_allclose([constant(i) for i in (0, 1, 4, 11)], [0, 0.5, 2, 2])
    np.testing.assert_allclose([cosine(i) for i in (0, 2, 4, 8, 12, 99)], [0, 1, 2, 1, 0, 0],
                               atol=1e-6)  # fmt: skip
    sudden = build_schedule({**settings, "warmup_steps": 0, "schedule": "constant"}, 12)
    assert float(sudden(0)) == 2


@pytest.mark.parametrize("name", ["aei", "arcface", "hear"])
@pytest.mark.parametrize("variant", ["", "demo"])
def test_every_config_builds_its_task(name, variant):
    config = read_config(name, variant)
    if name == "arcface":
        config.model.num_classes = 7
    task = build_task(config)
    assert task.name == name
    state = jax.eval_shape(task.init, jax.random.key(0))
    assert set(state.params) == set(state.opt_state)


@pytest.mark.parametrize("name", ["aei", "arcface", "hear"])
def test_unknown_variant_of_a_config_is_refused(name):
    with pytest.raises(ValueError, match="no variant 'dmeo'"):
        read_config(name, "dmeo")
