"""Kernel gradients of a batch that is divided over devices: each sums its own pictures."""

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from faceshifter_jax.models import cpu_lowering

cpu_lowering._PIXELS_OF_A_BLOCK = 32
mesh = Mesh(np.array(jax.devices()), ("data",), axis_types=(AxisType.Auto,))
divided = NamedSharding(mesh, PartitionSpec("data"))
random = np.random.default_rng(0)
x, cotangent = (random.standard_normal((4, 8, 8, c), np.float32) for c in (2, 3))
kernel = random.standard_normal((3, 3, 2, 3), np.float32)


def gradients(conv):
    def run(x, kernel, cotangent):
        return jax.vjp(lambda x, kernel: conv(x, kernel), x, kernel)[1](cotangent)

    return run


expected = gradients(lambda x, kernel: cpu_lowering.plain_conv(x, kernel, 1, 1))
expected = expected(x, kernel, cotangent)
inputs = jax.device_put(x, divided), kernel, jax.device_put(cotangent, divided)
for name in ("conv_over_picture", "conv_over_map", "conv_to_few"):
    run = gradients(lambda x, kernel: getattr(cpu_lowering, name)(x, kernel, 1))
    program = jax.jit(run).lower(*inputs).compile()
    for got, want in zip(program(*inputs), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    lines = program.as_text().splitlines()
    assert len(jax.devices()) == 2
    assert not any("all-gather" in line for line in lines), name
    reductions = [line for line in lines if " all-reduce(" in line or " all-reduce-start(" in line]
    assert len(reductions) == 1, (name, reductions)
    assert "/while/" not in reductions[0], (name, reductions)
"""


def test_gradients_meet_once():
    environment = {
        **os.environ,
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=2",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    command = [sys.executable, "-c", PROGRAM]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
