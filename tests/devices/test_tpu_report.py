import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image
from tiny_tasks import aei_config, arcface_config, hear_config

from faceshifter_jax.data import build_loader, prepare_embedded, prepare_folder
from faceshifter_jax.devices.compile import (
    CompiledStep,
    Memory,
    StepCosts,
    parse_out_of_memory,
    tracing_for,
)
from faceshifter_jax.devices.inputs import assume_num_classes, batch_shapes, frozen_shapes
from faceshifter_jax.devices.report import as_record, describe, fits
from faceshifter_jax.devices.topology import parse_topology
from faceshifter_jax.errors import UserError
from faceshifter_jax.models.layers import convolve_depthwise
from faceshifter_jax.runtime.faults import remedies
from faceshifter_jax.tasks import build_task

GIB = 2**30


def test_a_step_that_fits_is_reported_with_its_bound():
    memory = Memory(
        arguments=3 * GIB,
        outputs=2 * GIB,
        aliased=2 * GIB,
        temporaries=6 * GIB,
        code=0,
        peak=9 * GIB,
    )
    costs = StepCosts(memory, 19.7e12, 200e9, "HloModule")
    step = CompiledStep(("frozen identity: assumed: x",), 10.0, 200.0, costs, 9 * GIB, None)
    topology = parse_topology("v5e:4x4")
    text = "\n".join(describe(step, topology, batch_size=128))
    assert "with 8 pictures a step" in text
    assert "compiled in 3 min 20 s" in text
    assert "9.00 GiB of 16.00 GiB (56 %)" in text
    assert "200.00 GB   as XLA counts them" in text
    # 19.7 TFLOP at 197 TFLOP/s.
    assert "at least 100.0 ms of arithmetic at 197 TFLOP/s: at most 1280 pictures/s on 16" in text
    record = as_record(step, topology, batch_size=128)
    assert record["fits"]
    assert record["pictures_per_second"] == pytest.approx(1280)
    assert (record["flops"], record["bytes_accessed"]) == (19.7e12, 200e9)
    assert "program" not in record


@pytest.mark.parametrize(
    "message",
    [
        "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO "
        "temporaries (36.00G) exceeds available HBM (15.75G).",
        "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space "
        "hbm. Used 36.00G of 15.75G hbm. Exceeded hbm capacity by 20.25G.\n\nTotal hbm usage:",
    ],
)
def test_a_step_that_does_not_fit_is_reported_with_what_it_needs(message):
    needed, usable = parse_out_of_memory(message)
    assert (needed, usable) == (36 * GIB, int(15.75 * GIB))
    step = CompiledStep((), 10.0, 200.0, None, needed, usable)
    text = "\n".join(describe(step, parse_topology("v5e:2x2"), batch_size=128))
    assert "the step does not fit: it needs at least 36.00 GiB of 15.75 GiB" in text
    assert not as_record(step, parse_topology("v5e:2x2"), 128)["fits"]


def test_a_program_that_needs_more_than_the_chip_has_does_not_fit():
    memory = Memory(arguments=16 * GIB, outputs=0, aliased=0, temporaries=GIB, code=0, peak=GIB)
    costs = StepCosts(memory, 1e12, 1e9)
    step = CompiledStep((), 10.0, 200.0, costs, 17 * GIB, None)
    topology = parse_topology("v5e:2x2")
    text = "\n".join(describe(step, topology, batch_size=128))
    assert "the step does not fit: it needs at least 17.00 GiB of 16.00 GiB" in text
    assert "the step fits" not in text
    assert not fits(step, topology.chip)
    assert not as_record(step, topology, 128)["fits"]


@pytest.mark.parametrize(
    ("changes", "less"),
    [
        ({"remat": "none", "accumulate_steps": 2}, "remat=aad or --config.accumulate_steps=4"),
        ({"accumulate_steps": 1}, "more chips or --config.accumulate_steps=2"),
        ({}, "take fewer pictures a chip or more chips"),
    ],
)
def test_only_settings_that_the_config_has_are_advised(changes, less):
    step = CompiledStep((), 10.0, 200.0, None, 36 * GIB, 16 * GIB)
    topology = parse_topology("v5e:2x2")
    assert "\n".join(describe(step, topology, 128, remedies(ConfigDict(changes)))).endswith(less)


def test_another_refusal_of_the_compiler_is_passed_on():
    with pytest.raises(UserError, match=r"cannot compile the step for this TPU: INTERNAL: x$"):
        parse_out_of_memory("INTERNAL: x\nstack trace")


def test_models_are_lowered_as_on_a_tpu():
    """On a CPU a depthwise convolution is written as a sum of products, there it is one."""

    def operations() -> str:
        picture, kernel = jnp.zeros((1, 8, 8, 4)), jnp.zeros((3, 3, 1, 4))
        return str(jax.make_jaxpr(lambda x, k: convolve_depthwise(x, k, 1))(picture, kernel))

    with tracing_for("tpu"):
        assert "conv_general_dilated" in operations()
    assert "conv_general_dilated" not in operations()


@pytest.mark.parametrize("make_config", [aei_config, arcface_config, hear_config])
def test_a_step_traces_with_shapes_in_place_of_data_and_weights(make_config):
    config = make_config()
    for role in ("identity", "aei"):
        if role in config:
            config[role].weights = ""
            config.image_size = 128  # the least that the AEI-Net that stands in can make
    if "model" in config and "num_classes" in config.model:
        config.model.num_classes = 0
        assert "num_classes=85742" in assume_num_classes(config)[0]
        assert assume_num_classes(config) == []
    task = build_task(config)
    frozen, lines = frozen_shapes(task, config)
    assert len(lines) == sum(role in config for role in ("identity", "aei"))
    state = jax.eval_shape(task.init, jax.random.key(0))
    batch = batch_shapes(config, task.batch_kind)
    after, metrics = jax.eval_shape(task.make_step(None), state, frozen, batch)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), after) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), state
    )
    assert metrics


def test_no_aei_net_stands_in_for_pictures_that_it_cannot_make():
    config = hear_config()
    config.aei.weights = config.identity.weights = ""
    with pytest.raises(UserError, match="a multiple of 128 pixels, not 32"):
        frozen_shapes(build_task(config), config)


@pytest.mark.parametrize(
    ("make_config", "kind"),
    [(aei_config, "pairs"), (hear_config, "pairs"), (arcface_config, "identities")],
)
def test_batches_have_the_shapes_of_the_loaders(make_config, kind, tmp_path):
    for number in range(4):
        folder = tmp_path / "photos" / str(number % 2)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((32, 32, 3), 50 * number, np.uint8)).save(folder / f"{number}.png")
    config = make_config()
    config.batch_size = 2
    config.data.path = str(
        prepare_folder(tmp_path / "photos", tmp_path / "data", size=32, num_workers=1)
    )
    assert_shapes_of_the_loader(config, kind)


def test_batches_with_answers_have_the_shapes_of_the_loader(tmp_path):
    config = aei_config()
    config.batch_size = 2
    config.data.answer_share = config.data.pseudo_share = 0.5
    numbers = {"num_identities": 2, "pictures_per_identity": 2, "group_size": 2, "size": 32}
    config.data.path = str(prepare_embedded(tmp_path / "data", num_workers=1, **numbers))
    assert_shapes_of_the_loader(config, "pairs")


def assert_shapes_of_the_loader(config, kind):
    loader = build_loader(kind, config.data, seed=0, batch_size=2, image_size=32)
    batch = next(loader)
    loader.close()
    shapes = batch_shapes(config, kind)
    assert {name: (leaf.shape, leaf.dtype) for name, leaf in shapes.items()} == {
        name: (leaf.shape, leaf.dtype) for name, leaf in batch.items()
    }
