"""What one step of HEAR-Net's training does, and what it leaves alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_tasks import (
    SIZE,
    generator_weights,
    hear_config,
    identity_weights,
    load_two_stages,
    make_state,
    pair_batch,
)

from faceshifter_jax.errors import UserError
from faceshifter_jax.losses import answer_loss
from faceshifter_jax.models import AEIOutput
from faceshifter_jax.networks.build import build_network
from faceshifter_jax.networks.generator import Generator
from faceshifter_jax.networks.pixels import to_unit_range
from faceshifter_jax.tasks import HEARTask


class Setup:
    """One compiled step with its inputs; with b1 = 0 Adam's first moment is the gradient."""

    def __init__(self):
        self.config = hear_config()
        assert self.config.optimizer.b1 == 0
        self.task = HEARTask(self.config)
        self.state = make_state(self.task)
        self.frozen = load_two_stages(self.task)
        self.batch = pair_batch(4)
        step = jax.jit(self.task.make_step(None)).lower(self.state, self.frozen, self.batch)
        self.step = step.compile(compiler_options={"xla_backend_optimization_level": 0})
        self.after, self.metrics = self.step(self.state, self.frozen, self.batch)


@pytest.fixture(scope="module")
def setup():
    return Setup()


def test_hear_net_learns(setup):
    gradients = jax.tree.leaves(setup.after.opt_state["hear"][0].mu)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    kernel = setup.after.opt_state["hear"][0].mu["down_0"]["kernel"]
    assert (np.asarray(kernel) != 0).all(), "both the swap and the error must reach the network"
    before, after = (
        state.params["hear"]["down_0"]["kernel"] for state in (setup.state, setup.after)
    )
    assert not np.array_equal(before, after)
    assert int(setup.after.step) == 1


def test_frozen_networks_keep_every_bit(setup):
    before = jax.tree.map(np.array, setup.frozen)
    # Donation would be the way to lose them.
    donating = (
        jax.jit(setup.task.make_step(None), donate_argnums=0)
        .lower(setup.state, setup.frozen, setup.batch)
        .compile(compiler_options={"xla_backend_optimization_level": 0})
    )
    donating(jax.tree.map(jnp.copy, setup.state), setup.frozen, setup.batch)
    jax.tree.map(np.testing.assert_array_equal, before, jax.tree.map(np.array, setup.frozen))


@jax.jit
def run_first_stage(frozen, batch):
    target, source = (to_unit_range(batch[name]) for name in ("target", "source"))
    identity = frozen["identity"].embed(source)
    swap = frozen["aei"].swap(target, identity)
    error = target - frozen["aei"].swap(target, frozen["identity"].embed(target))
    return target, identity, swap, error


def first_stage(setup):
    return run_first_stage(setup.frozen, setup.batch)


def test_losses_are_those_of_the_paper(setup):
    target, identity, swap, error = first_stage(setup)
    variables = {
        "params": setup.state.params["hear"],
        "batch_stats": setup.state.batch_stats["hear"],
    }
    network = build_network(setup.task.networks()["hear"].network)

    @jax.jit
    def run(variables, frozen, swap, error):
        result, _ = network.apply(
            variables, swap, error, target, train=True, mutable=["batch_stats"]
        )
        return result, frozen["identity"].embed(result)

    result, embedding = run(variables, setup.frozen, swap, error)
    same = setup.batch["same"]
    squares = jnp.square(result - target).reshape(4, -1).mean(1)
    expected = {
        "identity_loss": jnp.mean(1 - jnp.sum(embedding * identity, -1)),
        "change_loss": jnp.abs(result - swap).mean(),
        "reconstruction_loss": 0.5 * jnp.sum(squares * same) / same.sum(),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(setup.metrics[name], value, rtol=1e-4, err_msg=name)
    total = sum(setup.config.loss[name.removesuffix("_loss")] * v for name, v in expected.items())
    np.testing.assert_allclose(setup.metrics["loss"], total, rtol=1e-4)


def test_right_answers_teach_where_they_are_known(setup):
    config = hear_config()
    config.data.answer_share, config.loss.answer, config.answer.differ_weight = 0.5, 3.0, 5.0
    random = np.random.default_rng(5)
    answer = random.integers(0, 256, setup.batch["target"].shape, np.uint8)
    answered = np.array([1, 0, 1, 0], np.float32)
    batch = {**setup.batch, "answer": answer, "answered": answered}
    step = jax.jit(HEARTask(config).make_step(None))
    _, metrics = step(setup.state, setup.frozen, batch)
    target, _, swap, error = first_stage(setup)
    result, _ = build_network(setup.task.networks()["hear"].network).apply(
        {"params": setup.state.params["hear"], "batch_stats": setup.state.batch_stats["hear"]},
        *(swap, error, target),
        train=True,
        mutable=["batch_stats"],
    )
    found = answer_loss(
        result, to_unit_range(answer), target, distance="absolute", differ_weight=5.0
    )
    np.testing.assert_allclose(metrics["answer_loss"], found[::2].mean(), rtol=1e-4)
    total = setup.metrics["loss"] + 3 * metrics["answer_loss"]
    np.testing.assert_allclose(metrics["loss"], total, rtol=1e-4)


@pytest.mark.parametrize(
    ("answer_share", "weight", "message"),
    [(0.0, 1.0, "has none: set config.data.answer_share"), (0.5, 0.0, "nothing learns from them")],
)
def test_answers_that_teach_nothing_are_refused(answer_share, weight, message):
    config = hear_config()
    config.data.answer_share, config.loss.answer = answer_share, weight
    with pytest.raises(UserError, match=message):
        HEARTask(config)


class Copy:
    """A first stage that reproduces its target."""

    def apply(self, variables, target, identity):
        del variables, identity
        return AEIOutput(target, (), ())


def test_heuristic_error_is_zero_where_the_first_stage_reproduces_its_input():
    pictures = jnp.linspace(-1, 1, 2 * 8 * 8 * 3).reshape(2, 8, 8, 3)
    assert (Generator({}, Copy()).heuristic_error(pictures, jnp.zeros((2, 4))) == 0).all()


def test_batch_without_same_pairs_has_no_reconstruction_loss(setup):
    batch = {**setup.batch, "same": np.zeros(4, np.float32)}
    _, metrics = setup.step(setup.state, setup.frozen, batch)
    assert float(metrics["reconstruction_loss"]) == 0
    assert np.isfinite(float(metrics["loss"]))


def test_predicted_columns(setup):
    columns = jax.jit(setup.task.predict)(setup.state, setup.frozen, setup.batch)
    assert set(columns) == {"source", "target", "AEI-Net", "error", "HEAR-Net"}
    for name, pictures in columns.items():
        assert pictures.shape == (4, SIZE, SIZE, 3), name
        assert float(jnp.abs(pictures).max()) < 1 + 1e-6, name
    _, _, swap, error = first_stage(setup)
    np.testing.assert_allclose(columns["AEI-Net"], swap, atol=1e-5)
    np.testing.assert_allclose(columns["error"], jnp.clip(error, -1, 1), atol=1e-5)


def test_an_occluder_teaches_every_pair(setup):
    """The same step with the occluder's weight set: one more term, worked out by hand."""
    config = hear_config()
    config.loss.occluder = 7.0
    task = HEARTask(config)
    alpha = np.random.default_rng(3).integers(0, 256, (4, SIZE, SIZE), np.uint8)
    batch = {**setup.batch, "occluder": alpha}
    step = jax.jit(task.make_step(None)).lower(setup.state, setup.frozen, batch)
    step = step.compile(compiler_options={"xla_backend_optimization_level": 0})
    after, metrics = step(setup.state, setup.frozen, batch)

    target, _, swap, error = first_stage(setup)
    variables = {
        "params": setup.state.params["hear"],
        "batch_stats": setup.state.batch_stats["hear"],
    }
    result, _ = build_network(HEARTask(config).networks()["hear"].network).apply(
        variables, swap, error, target, train=True, mutable=["batch_stats"]
    )
    squares = np.square(np.asarray(result - target, np.float64)) * (alpha / 255)[..., None]
    np.testing.assert_allclose(metrics["occluder_loss"], 0.5 * squares.mean(), rtol=1e-4)
    expected = setup.metrics["loss"] + 7 * metrics["occluder_loss"]
    np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-4)
    before, now = (s.opt_state["hear"][0].mu["down_0"]["kernel"] for s in (setup.after, after))
    assert np.abs(np.asarray(before) - np.asarray(now)).max() > 1e-4, "it must have a gradient"


def test_an_occluder_loss_without_occlusions_is_refused():
    config = hear_config()
    config.loss.occluder, config.data.occlusion_share = 1.0, 0.0
    with pytest.raises(UserError, match="occlusion_share is 0: set the loss to 0 or the share"):
        HEARTask(config)


def refuse(task, sources, message):
    with pytest.raises(UserError, match=message) as error:
        task.load_frozen(sources)
    assert "\n" not in str(error.value)


def test_another_identity_network_than_the_first_stages_is_refused():
    sources = {"aei": generator_weights(), "identity": identity_weights()}
    task = HEARTask(hear_config())
    task.load_frozen(sources)
    sources["identity"] = dataclasses.replace(sources["identity"], sha256="07e4")
    refuse(task, sources, "runs/aei was trained with: name that one, which was at runs/identity")
    sources["aei"] = dataclasses.replace(sources["aei"], frozen={})
    task.load_frozen(sources)


def test_a_negative_weight_of_a_loss_is_refused():
    config = hear_config()
    config.loss.change = -1.0
    with pytest.raises(UserError, match=r"config\.loss\.change is -1.0: it must be at least 0"):
        HEARTask(config)


def test_networks_that_do_not_belong_together_are_refused():
    config = hear_config()
    aei, identity = generator_weights(), identity_weights()
    config.image_size = 2 * SIZE
    refuse(HEARTask(config), {"aei": aei, "identity": identity}, f"config.image_size={SIZE}")
    config.image_size = SIZE
    task = HEARTask(config)
    refuse(task, {"aei": identity, "identity": identity}, "an identity network, not an AEI-Net")
    refuse(task, {"aei": aei, "identity": aei}, "a generator network, not an identity network")


@pytest.mark.parametrize("name", ["aei", "identity"])
def test_missing_weights_say_what_to_name(name):
    config = hear_config()
    config[name].weights = ""
    with pytest.raises(UserError, match=rf"config\.{name}\.weights is empty: name the"):
        HEARTask(config).frozen_sources()


def test_a_generator_of_unknown_picture_size_is_refused():
    aei = generator_weights()
    aei.networks["generator"] = dataclasses.replace(aei.networks["generator"], image_size=None)
    sources = {"aei": aei, "identity": identity_weights()}
    refuse(HEARTask(hear_config()), sources, "does not say for which size of pictures")
