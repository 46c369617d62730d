"""The variants of the ablation are settings that a training run accepts."""

import importlib.util
from pathlib import Path

import jax
import pytest

from faceshifter_jax.tasks import AEITask
from faceshifter_jax.training.config import parse_arguments

ROOT = Path(__file__).parent.parent


def load_script():
    spec = importlib.util.spec_from_file_location("ablation", ROOT / "scripts" / "ablation.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


VARIANTS = load_script().VARIANTS


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_can_be_trained(variant):
    settings = [f"--config.{name}={value}" for name, value in VARIANTS[variant].items()]
    config, _ = parse_arguments(
        ["train.py", f"--config={ROOT / 'configs' / 'aei.py'}:demo", "--workdir=run", *settings]
    )
    shapes = jax.eval_shape(AEITask(config).init, jax.random.key(0))
    assert shapes.params["generator"]


def test_variants_differ_from_the_whole():
    assert not VARIANTS["whole"]
    settings = [tuple(sorted(changes.items())) for changes in VARIANTS.values()]
    assert len(set(settings)) == len(settings)
