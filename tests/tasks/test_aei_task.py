"""What one step of AEI-Net's training does, and what it leaves alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_tasks import SIZE, aei_config, load_identity, make_state, pair_batch

from faceshifter_jax import losses
from faceshifter_jax.networks.build import build_network
from faceshifter_jax.networks.pixels import to_unit_range
from faceshifter_jax.runtime.parallel import build_parallel
from faceshifter_jax.tasks import AEITask, build_task

STOPPED = 1_000_000  # so far down the cosine that the learning rate is 0


def same_arrays(a, b):
    return jax.tree.all(jax.tree.map(lambda x, y: bool((x == y).all()), a, b))


def with_count(state, player, count):
    """`state` as if that player's optimiser had made so many updates."""
    opt_state = jax.tree_util.tree_map_with_path(
        lambda path, leaf: jnp.full_like(leaf, count) if ".count" in map(str, path) else leaf,
        state.opt_state[player],
    )
    return state.replace(opt_state={**state.opt_state, player: opt_state})


class Setup:
    """One compiled step with its inputs; with b1 = 0 Adam's first moment is the gradient."""

    def __init__(self):
        self.config = aei_config()
        for player in ("generator", "discriminator"):
            self.config.optimizer[player].schedule = "cosine"
            assert self.config.optimizer[player].b1 == 0
        self.task = AEITask(self.config)
        self.state = make_state(self.task)
        self.frozen = load_identity(self.task)
        self.batch = pair_batch(4)
        step = jax.jit(self.task.make_step(None)).lower(self.state, self.frozen, self.batch)
        # Unoptimised: runs of milliseconds do not pay for seconds of compilation.
        self.step = step.compile(compiler_options={"xla_backend_optimization_level": 0})
        self.after, self.metrics = self.step(self.state, self.frozen, self.batch)

    def gradient(self, player, state=None, batch=None):
        after, _ = self.step(state or self.state, self.frozen, batch or self.batch)
        return after.opt_state[player][0].mu

    def swap(self):
        """The picture that the step makes and judges."""
        target, source = (to_unit_range(self.batch[name]) for name in ("target", "source"))
        variables = {
            "params": self.state.params["generator"],
            "batch_stats": self.state.batch_stats["generator"],
        }

        def run(variables, target, identity):
            output, _ = build_network(self.task.networks()["generator"].network).apply(
                variables, target, identity, train=True, mutable=["batch_stats"]
            )
            return output.image

        return jax.jit(run)(variables, target, self.frozen["identity"].embed(source))


@pytest.fixture(scope="module")
def setup():
    return Setup()


def test_both_players_learn(setup):
    for player in ("generator", "discriminator"):
        gradient = jax.tree.leaves(setup.gradient(player))
        assert all(np.isfinite(g).all() for g in gradient)
        assert not same_arrays(setup.after.params[player], setup.state.params[player])
    assert int(setup.after.step) == 1
    assert all(np.isfinite(value) for value in setup.metrics.values())


def test_generator_at_rest_leaves_the_discriminators_update_as_it_is_and_the_reverse(setup):
    for resting, other in (("generator", "discriminator"), ("discriminator", "generator")):
        state = with_count(setup.state, resting, STOPPED)
        after, _ = setup.step(state, setup.frozen, setup.batch)
        assert same_arrays(after.params[resting], state.params[resting])
        assert same_arrays(after.params[other], setup.after.params[other])


def test_discriminators_gradient_is_that_of_its_own_loss_alone(setup):
    network = build_network(setup.task.networks()["discriminator"].network)
    target, swap = to_unit_range(setup.batch["target"]), setup.swap()

    def loss(params):
        real, fake = (network.apply({"params": params}, x) for x in (target, swap))
        return losses.hinge_discriminator_loss(real, fake).mean()

    value, expected = jax.jit(jax.value_and_grad(loss))(setup.state.params["discriminator"])
    np.testing.assert_allclose(setup.metrics["discriminator_loss"], value, rtol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5),
        setup.gradient("discriminator"),
        expected,
    )


def test_discriminators_loss_gives_the_generator_no_gradient(setup):
    """Scores moved far below -1 silence the hinge on swaps, but not the generator's term."""

    def move(path, leaf):
        names = [part.key for part in path]
        return leaf - 100 if names[-2:] == ["scores", "bias"] else leaf

    moved = jax.tree_util.tree_map_with_path(move, setup.state.params["discriminator"])
    state = setup.state.replace(params={**setup.state.params, "discriminator": moved})
    before, after = setup.gradient("generator"), setup.gradient("generator", state)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), before, after)
    assert not same_arrays(setup.gradient("discriminator"), setup.gradient("discriminator", state))


def test_frozen_identity_keeps_every_bit_while_gradients_flow_through_it(setup):
    before = jax.tree.map(np.array, setup.frozen)
    state = setup.state
    for _ in range(3):
        state, _ = setup.step(state, setup.frozen, setup.batch)
    assert same_arrays(setup.frozen, before)
    source, target = (to_unit_range(setup.batch[name]) for name in ("source", "target"))

    def loss(pictures):
        embed = setup.frozen["identity"].embed
        return losses.identity_loss(embed(pictures), embed(source)).sum()

    assert np.abs(jax.jit(jax.grad(loss))(target)).max() > 1e-6
    # Another frozen network gives the generator another gradient.
    other = jax.tree.map(lambda x: 1.5 * x + 0.1, setup.frozen)
    after, _ = setup.step(setup.state, other, setup.batch)
    assert not same_arrays(after.opt_state["generator"][0].mu, setup.gradient("generator"))


def test_reconstruction_counts_the_same_pairs_only(setup):
    target, swap = to_unit_range(setup.batch["target"]), setup.swap()
    errors = 0.5 * np.square(swap - target).mean((1, 2, 3))
    expected = errors[setup.batch["same"] == 1].mean()
    np.testing.assert_allclose(setup.metrics["reconstruction_loss"], expected, rtol=1e-4)


def test_batch_without_same_pairs_has_no_reconstruction_loss(setup):
    batch = pair_batch(4, same=0.0)
    after, metrics = setup.step(setup.state, setup.frozen, batch)
    assert float(metrics["reconstruction_loss"]) == 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after))


def test_health_metrics_are_of_the_swaps_alone(setup):
    different = setup.batch["same"] == 0
    assert 0 < different.sum() < 4
    embed = jax.jit(setup.frozen["identity"].embed)
    pictures = {name: to_unit_range(setup.batch[name]) for name in ("source", "target")}
    swap = embed(setup.swap())
    cosines = {
        name: np.asarray(losses.cosine(swap, embed(picture)))[different]
        for name, picture in pictures.items()
    }
    for name, values in cosines.items():
        np.testing.assert_allclose(setup.metrics[f"{name}_cosine"], values.mean(), atol=1e-5)
    nearer = (cosines["source"] > cosines["target"]).mean()
    assert float(setup.metrics["nearer_source"]) == nearer
    assert float(setup.metrics["swap_share"]) == different.mean()


def test_gradient_norms(setup):
    for player in ("generator", "discriminator"):
        squares = [
            np.square(g, dtype=np.float64).sum() for g in jax.tree.leaves(setup.gradient(player))
        ]
        np.testing.assert_allclose(
            setup.metrics[f"{player}_gradient_norm"], np.sqrt(sum(squares)), rtol=1e-4
        )


def test_generator_loss_is_the_weighted_sum_of_its_terms(setup):
    terms = ("adversarial", "attribute", "identity", "reconstruction")
    expected = sum(setup.config.loss[t] * float(setup.metrics[f"{t}_loss"]) for t in terms)
    np.testing.assert_allclose(setup.metrics["generator_loss"], expected, rtol=1e-5)


@pytest.mark.parametrize(("steps", "decay"), [(0, 0.1), (20, 0.7), (100_000, 0.99)])
def test_average_of_the_weights(setup, steps, decay):
    """min(ema_decay, (1 + step) / (10 + step)) of the old average, the rest of the new weights."""
    average = jax.tree.map(lambda x: x + 1.0, setup.state.ema_params)
    state = setup.state.replace(step=jnp.int32(steps), ema_params=average)
    after, _ = setup.step(state, setup.frozen, setup.batch)
    jax.tree.map(
        lambda new, old, weights: np.testing.assert_allclose(
            new, decay * old + (1 - decay) * weights, atol=1e-5
        ),
        after.ema_params["generator"],
        average["generator"],
        after.params["generator"],
    )
    assert set(after.ema_params) == {"generator"}


def test_running_statistics_are_of_targets_alone(setup):
    """The first convolution's mean over the targets, at a tenth, from a start of 0."""
    params = setup.state.params["generator"]["encoder"]["down_0"]
    down = jax.lax.conv_general_dilated(
        to_unit_range(setup.batch["target"]), params["kernel"], (2, 2), [(1, 1)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"))  # fmt: skip
    stats = setup.after.batch_stats["generator"]["encoder"]["down_norm_0"]["norm"]
    np.testing.assert_allclose(stats["mean"], 0.01 * down.mean((0, 1, 2)), atol=1e-5)


def test_same_inputs_give_the_same_step(setup):
    again, metrics = setup.step(setup.state, setup.frozen, setup.batch)
    assert same_arrays(again, setup.after)
    assert same_arrays(metrics, setup.metrics)


def test_predicted_columns(setup):
    columns = build_parallel("jit").compile_predict(setup.task.predict)(
        setup.state, setup.frozen, setup.batch
    )
    assert list(columns) == ["source", "target", "swap", "mask 8", "mask 16", "mask 32"]
    for picture in columns.values():
        assert (picture.shape, picture.dtype) == ((4, SIZE, SIZE, 3), jnp.float32)
        assert picture.min() >= -1
        assert picture.max() <= 1
    for name in ("source", "target"):
        expected = setup.batch[name].astype(np.float32) / 127.5 - 1
        np.testing.assert_allclose(columns[name], expected, atol=1e-6)
    coarse = columns["mask 8"]
    assert (coarse[..., 0] == coarse[..., 2]).all()
    assert (coarse[:, ::4, ::4] == coarse[:, 3::4, 3::4]).all()  # blocks of 4x4 pixels


def test_init_starts_the_average_at_the_weights_without_sharing_them():
    config = aei_config()
    config.discriminator.num_scales = 1
    task = build_task(config)
    init = jax.jit(task.init).lower(jax.random.key(0))
    init = init.compile(compiler_options={"xla_backend_optimization_level": 0})
    state = init(jax.random.key(0))
    assert (state.step.dtype, int(state.step)) == (jnp.int32, 0)
    assert set(state.params) == {"generator", "discriminator"}
    assert same_arrays(state.ema_params["generator"], state.params["generator"])
    pointers = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(state) if leaf.size]
    assert len(set(pointers)) == len(pointers)
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {jnp.dtype("float32")}
