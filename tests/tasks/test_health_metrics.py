"""What a step says of its swaps, and the signs that tasks look for."""

import jax.numpy as jnp
import numpy as np
import pytest
from tiny_tasks import aei_config, arcface_config, hear_config

from faceshifter_jax.errors import UserError
from faceshifter_jax.tasks import build_task
from faceshifter_jax.tasks.swap_metrics import swap_metrics
from faceshifter_jax.tasks.swap_rows import row_weights


def different_pairs(same):
    weights, share = row_weights({"same": same}, None)
    return weights["swap_weights"], share


def unit(*angles):
    angles = np.radians(angles)
    return jnp.asarray(np.stack([np.cos(angles), np.sin(angles)], 1), jnp.float32)


def test_only_pairs_of_different_pictures_count():
    source, target = unit(0, 0, 0, 0), unit(90, 90, 90, 90)
    result = unit(30, 60, 80, 0)
    same = jnp.asarray([0, 0, 1, 1], jnp.float32)
    weights, share = different_pairs(same)
    metrics = swap_metrics(result, source, target, weights)
    assert float(share) == 0.5
    assert float(metrics["nearer_source"]) == 0.5
    half = (np.cos(np.radians(30)) + np.cos(np.radians(60))) / 2
    np.testing.assert_allclose(metrics["source_cosine"], half, rtol=1e-6)
    np.testing.assert_allclose(metrics["target_cosine"], half, rtol=1e-6)


def test_a_copy_is_not_nearer_to_its_source():
    target = unit(90, 45)
    weights, _ = different_pairs(jnp.zeros(2))
    metrics = swap_metrics(target, target, target, weights)
    assert float(metrics["nearer_source"]) == 0
    metrics = swap_metrics(target, unit(0, 0), target, weights)
    assert float(metrics["nearer_source"]) == 0
    np.testing.assert_allclose(metrics["target_cosine"], 1, rtol=1e-6)


def test_a_batch_without_swaps_gives_finite_metrics_of_no_weight():
    same = jnp.ones(2)
    weights, share = different_pairs(same)
    assert float(share) == 0
    metrics = swap_metrics(unit(0, 1), unit(2, 3), unit(4, 5), weights)
    assert [float(value) for value in metrics.values()] == [0, 0, 0]


def warnings_of(config):
    return [check.warning for check in build_task(config).health().checks]


def test_warnings_name_the_settings_and_their_values():
    config = aei_config()
    config.loss.identity = 2.5
    copying, discriminator = warnings_of(config)
    assert "raise config.loss.identity (now 2.5)" in copying
    assert "config.data.same_picture_share (0.2)" in copying
    assert "config.optimizer.discriminator.learning_rate (now 0.0004)" in discriminator
    (copying,) = warnings_of(hear_config())
    assert "config.loss.change (1)" in copying
    assert build_task(arcface_config()).health().checks == ()


def test_every_setting_that_a_warning_names_exists():
    for config in (aei_config(), hear_config()):
        for warning in warnings_of(config):
            keys = [word.rstrip(",;:") for word in warning.split() if word.startswith("config.")]
            assert len(keys) >= 3
            for key in keys:
                section = config
                for part in key.removeprefix("config.").split("."):
                    section = section[part]


def test_a_discriminator_of_no_weight_is_not_judged():
    config = aei_config()
    config.loss.adversarial = 0.0
    assert len(warnings_of(config)) == 1


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("warn_after_steps", -1),
        ("window_steps", 0),
        ("nearer_source", 1.5),
        ("discriminator_accuracy", -0.1),
    ],
)
def test_health_settings_out_of_range_are_refused(key, value):
    config = aei_config()
    config.health[key] = value
    with pytest.raises(UserError, match=rf"config\.health\.{key} is {value}: it must be") as error:
        build_task(config)
    assert "\n" not in str(error.value)
