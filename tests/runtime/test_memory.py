"""What is said where the memory of a device is full."""

import jax
import jax.numpy as jnp
import pytest
from ml_collections import ConfigDict

from faceshifter_jax.runtime.faults import OutOfMemory, out_of_memory_is_one_line

WHOLE = {"batch_size": 32, "remat": "none", "accumulate_steps": 2, "compute_dtype": "float32"}


@pytest.mark.parametrize(
    ("settings", "ways"),
    [
        (
            WHOLE,
            "a --config.batch_size below 32 or --config.remat=aad or "
            "--config.accumulate_steps=4 or --config.compute_dtype=bfloat16",
        ),
        (WHOLE | {"remat": "aad", "compute_dtype": "bfloat16"}, "below 32 or --config.accumulate"),
        ({"batch_size": 8}, "try a --config.batch_size below 8"),
    ],
)
def test_full_memory_is_one_line_with_the_settings_that_help(settings, ways):
    with (
        pytest.raises(OutOfMemory) as raised,
        out_of_memory_is_one_line(ConfigDict(settings)),
    ):
        jax.block_until_ready(jax.jit(lambda: jnp.ones(2**50))())
    message = str(raised.value)
    assert message.startswith("the step does not fit into the memory of the devices (RESOURCE_EX")
    assert ways in message
    assert "\n" not in message


def test_what_has_nothing_to_do_with_memory_passes():
    error = jax.errors.JaxRuntimeError("INTERNAL: x")
    with (
        pytest.raises(jax.errors.JaxRuntimeError) as raised,
        out_of_memory_is_one_line(ConfigDict(WHOLE)),
    ):
        raise error
    assert raised.value is error
