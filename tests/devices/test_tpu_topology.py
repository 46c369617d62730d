import os
import subprocess
import sys

import pytest

from faceshifter_jax.devices.chips import CHIPS
from faceshifter_jax.devices.topology import parse_topology
from faceshifter_jax.errors import UserError


@pytest.mark.parametrize(
    ("text", "chip", "shape", "num_chips"),
    [
        ("v5e:4x4", "v5e", (4, 4), 16),
        ("v5e:1x1", "v5e", (1, 1), 1),
        ("v4:2x2x1", "v4", (2, 2, 1), 4),
        (" v5p:4x4x8 ", "v5p", (4, 4, 8), 128),
        ("v6e:16x16", "v6e", (16, 16), 256),
    ],
)
def test_a_slice_is_a_chip_and_a_shape(text, chip, shape, num_chips):
    topology = parse_topology(text)
    assert (topology.chip.name, topology.shape, topology.num_chips) == (chip, shape, num_chips)
    assert str(topology) == text.strip()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not a TPU topology"),
        ("v5e", "not a TPU topology"),
        ("v5e:16", "not a TPU topology"),
        ("v5e:4x", "not a TPU topology"),
        ("v5litepod-16", "not a TPU topology"),
        ("v99:4x4", "known are v4, v5e, v5p, v6e"),
        ("v5e:2x2x2", "a v5e slice has 2 dimensions"),
        ("v4:4x4", "such as v4:2x2x2"),
        ("v5e:0x4", "at least one chip"),
    ],
)
def test_other_names_are_refused_with_a_hint(text, says):
    with pytest.raises(UserError, match=says):
        parse_topology(text)


def test_the_chips_have_their_published_figures():
    # Google's pages of each chip: bfloat16 TFLOP/s, GB/s, GiB.
    published = {
        "v4": (275, 1200, 32),
        "v5e": (197, 819, 16),
        "v5p": (459, 2765, 95),
        "v6e": (918, 1638, 32),
    }
    listed = {
        name: (chip.peak_flops / 1e12, chip.bytes_per_second / 1e9, chip.memory_bytes / 2**30)
        for name, chip in CHIPS.items()
    }
    assert listed == published
    assert all(chip.source.endswith(f"/{name}") for name, chip in CHIPS.items())


def test_the_environment_is_set_before_jax_is_there():
    """The command's module alone must not import jax, which reads the environment only once."""
    code = (
        "import sys; import faceshifter_jax.devices.tpu_check_command as command;"
        "assert 'jax' not in sys.modules, 'jax is imported too early';"
        "command.prepare_environment(); import jax;"
        "assert jax.default_backend() == 'cpu'"
    )
    environment = {**os.environ, "JAX_PLATFORMS": "tpu"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
