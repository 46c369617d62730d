"""What one step of an identity network's training does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_tasks import SIZE, arcface_config, identity_batch, identity_weights, make_state

from faceshifter_jax.errors import UserError
from faceshifter_jax.networks.build import build_network
from faceshifter_jax.networks.identity import crop_for_identity, identity_network_from, unit_length
from faceshifter_jax.networks.pixels import to_unit_range
from faceshifter_jax.runtime.parallel import build_parallel
from faceshifter_jax.tasks import ArcFaceTask
from faceshifter_jax.tasks.arcface import CODE_SIZE


class Setup:
    def __init__(self):
        self.config = arcface_config()
        self.task = ArcFaceTask(self.config)
        self.state = make_state(self.task)
        self.batch = identity_batch(8)
        step = jax.jit(self.task.make_step(None)).lower(self.state, {}, self.batch)
        self.step = step.compile(compiler_options={"xla_backend_optimization_level": 0})
        self.after, self.metrics = self.step(self.state, {}, self.batch)


@pytest.fixture(scope="module")
def setup():
    return Setup()


def test_step_changes_network_and_centres_and_nothing_is_lost(setup):
    before, after = setup.state.params["classifier"], setup.after.params["classifier"]
    assert not np.array_equal(before["centres"], after["centres"])
    for old, new in zip(*map(jax.tree.leaves, (before, after)), strict=True):
        assert old.shape == new.shape
        assert np.isfinite(new).all()
    assert int(setup.after.step) == 1
    assert set(setup.metrics) == {"loss", "accuracy", "classifier_gradient_norm"}


def test_loss_is_that_of_the_formula(setup):
    network = build_network(setup.task.networks()["identity"].network)
    crops = crop_for_identity(to_unit_range(setup.batch["image"]), 16)
    params = setup.state.params["classifier"]
    variables = {"params": params["network"], "batch_stats": setup.state.batch_stats["classifier"]}
    embedding, _ = jax.jit(lambda v, x: network.apply(v, x, train=True, mutable=["batch_stats"]))(
        variables, crops
    )
    cosines = np.asarray(unit_length(embedding) @ unit_length(params["centres"]).T)
    rows, labels = np.arange(8), setup.batch["label"]
    logits = cosines.copy()
    angle = np.arccos(cosines[rows, labels]) + setup.config.loss.margin
    assert (angle < np.pi).all()
    logits[rows, labels] = np.cos(angle)
    logits *= setup.config.loss.scale
    expected = np.log(np.exp(logits).sum(1)) - logits[rows, labels]
    np.testing.assert_allclose(setup.metrics["loss"], expected.mean(), rtol=1e-3)
    hits = cosines.argmax(1) == labels
    np.testing.assert_allclose(setup.metrics["accuracy"], hits.mean())


def test_it_learns_a_batch_by_heart(setup):
    state = setup.state
    for _ in range(40):
        state, metrics = setup.step(state, {}, setup.batch)
    assert metrics["loss"] < setup.metrics["loss"] / 2


def test_predicted_columns(setup):
    batch = identity_batch(5)
    batch["image"][3] = batch["image"][1]
    columns = build_parallel("jit").compile_predict(setup.task.predict)(setup.state, {}, batch)
    assert list(columns) == ["picture", "nearest"]
    for picture in columns.values():
        assert (picture.shape, picture.dtype) == ((5, SIZE, SIZE, 3), jnp.float32)
        assert -1 <= picture.min() < picture.max() <= 1
    # Never the picture itself, but its twin.
    np.testing.assert_array_equal(columns["nearest"][1], columns["picture"][3])
    np.testing.assert_array_equal(columns["nearest"][3], columns["picture"][1])
    assert not np.array_equal(columns["nearest"][0], columns["picture"][0])


def test_trained_weights_become_a_network_that_embeds():
    network = identity_network_from(identity_weights())
    pictures = to_unit_range(identity_batch(3)["image"])
    embedding = network.embed(pictures)
    assert embedding.shape == (3, 8)
    np.testing.assert_allclose(jnp.linalg.norm(embedding, axis=1), 1, atol=1e-5)


def test_it_has_no_frozen_networks(setup):
    assert setup.task.frozen_sources() == {}
    assert setup.task.load_frozen({}) == {}


@pytest.fixture(scope="module")
def of_codes():
    """A step that learns codes alone, from random views."""
    config = arcface_config()
    config.loss.classes, config.loss.code = 0.0, 2.0
    config.data.identity_codes, config.data.identity_views = True, 1
    config.optimizer.weight_decay = 0.0
    task = ArcFaceTask(config)
    state = make_state(task)
    batch = identity_batch(8)
    batch["code"] = np.random.default_rng(0).standard_normal((8, CODE_SIZE)).astype(np.float32)
    batch["view_seed"] = np.arange(8, dtype=np.uint32)
    step = jax.jit(task.make_step(None)).lower(state, {}, batch)
    return state, batch, step.compile(compiler_options={"xla_backend_optimization_level": 0})


def test_codes_teach_the_network_and_not_the_centres(of_codes):
    state, batch, step = of_codes
    after, metrics = step(state, {}, batch)
    np.testing.assert_allclose(metrics["loss"], 2 * metrics["code_loss"], rtol=1e-6)
    before, after = state.params["classifier"], after.params["classifier"]
    assert np.array_equal(before["centres"], after["centres"])
    assert not np.array_equal(before["reader"], after["reader"])
    assert not np.array_equal(
        before["network"]["embedding"]["kernel"], after["network"]["embedding"]["kernel"]
    )


def test_a_reader_of_nothing_has_the_codes_mean_square_as_its_loss(of_codes):
    state, batch, step = of_codes
    params = state.params["classifier"]
    silent = {"classifier": {**params, "reader": jnp.zeros_like(params["reader"])}}
    _, metrics = step(state.replace(params=silent), {}, batch)
    np.testing.assert_allclose(metrics["code_loss"], np.square(batch["code"]).mean(), rtol=1e-5)


def test_other_views_of_the_same_pictures_are_another_loss(of_codes):
    state, batch, step = of_codes
    first = step(state, {}, batch)[1]["loss"]
    assert step(state, {}, batch)[1]["loss"] == first
    other = {**batch, "view_seed": batch["view_seed"] + np.uint32(100)}
    assert step(state, {}, other)[1]["loss"] != first


@pytest.mark.parametrize(
    ("classes", "code", "codes", "message"),
    [
        (0.0, 0.0, False, "nothing is learned"),
        (1.0, 1.0, False, "set both or neither"),
        (1.0, 0.0, True, "set both or neither"),
        (-1.0, 1.0, True, "at least 0"),
    ],
)
def test_losses_that_cannot_work_are_refused(classes, code, codes, message):
    config = arcface_config()
    config.loss.classes, config.loss.code, config.data.identity_codes = classes, code, codes
    with pytest.raises(UserError, match=message):
        ArcFaceTask(config)
