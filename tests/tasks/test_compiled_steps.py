"""Steps at paper scale that are kept compiled, from process to process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMPILE = """
import sys
import jax
from faceshifter_jax.tasks import build_task
from faceshifter_jax.devices.inputs import batch_shapes, frozen_shapes
from faceshifter_jax.runtime.compilation import compiler_options, use_compilation_cache
from faceshifter_jax.training.config import load_config

config = load_config("configs/aei.py")
config.batch_size, config.identity.weights = 1, ""
task = build_task(config)
frozen, _ = frozen_shapes(task, config)
inputs = jax.eval_shape(task.init, jax.random.key(0)), frozen, batch_shapes(config, "pairs")
use_compilation_cache(sys.argv[1])
jax.jit(task.make_step(None), donate_argnums=0).lower(*inputs).compile(compiler_options())
"""


@pytest.mark.slow
def test_a_large_step_that_was_kept_is_read_back(tmp_path):
    """With XLA's usual emitters the second process dies on a CPU: its stack is too small."""
    kept = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", COMPILE, tmp_path],
            cwd=ROOT,
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
        kept.append({path.name for path in tmp_path.iterdir() if "step" in path.name})
    assert kept[0]
    assert kept[0] == kept[1]
