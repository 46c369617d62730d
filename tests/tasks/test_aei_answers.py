"""Right answers, pseudo targets and views in a step of AEI-Net's training."""

import jax
import numpy as np
import pytest
from tiny_tasks import (
    SIZE,
    aei_config,
    identity_weights,
    load_identity,
    make_state,
    pair_batch,
)

from faceshifter_jax.errors import UserError
from faceshifter_jax.tasks import AEITask


def config_with(**settings):
    config = aei_config()
    for key, value in settings.items():
        section, _, name = key.partition("__")
        config[section][name] = value
    return config


def batch_with_answers(rows=4):
    batch = pair_batch(rows, same=0.25)
    random = np.random.default_rng(9)
    batch["answer"] = random.integers(0, 256, batch["target"].shape, np.uint8)
    batch["answered"] = (np.arange(rows) % 2).astype(np.float32)
    batch["view_seed"] = np.arange(rows, dtype=np.uint32)
    return batch


class Run:
    def __init__(self, config, frozen=None):
        self.task = AEITask(config)
        self.state = make_state(self.task)
        self.frozen = frozen or load_identity(self.task)
        self.compiled = None

    def step(self, batch):
        if self.compiled is None:
            lowered = jax.jit(self.task.make_step(None)).lower(self.state, self.frozen, batch)
            self.compiled = lowered.compile(compiler_options={"xla_backend_optimization_level": 0})
        return self.compiled(self.state, self.frozen, batch)


def generator_gradient(after):
    return after.opt_state["generator"][0].mu


def differ(a, b):
    return any(bool((x != y).any()) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True))


@pytest.fixture(scope="module")
def alone():
    """A step that learns from right answers and nothing else."""
    config = config_with(loss__answer=10.0, data__answer_share=0.5, answer__differ_weight=5.0)
    for name in ("adversarial", "attribute", "identity", "reconstruction"):
        config.loss[name] = 0.0
    return Run(config)


def test_rows_without_an_answer_teach_nothing(alone):
    batch = batch_with_answers()
    before, metrics = alone.step(batch)
    batch["answer"][0] = 255 - batch["answer"][0]
    after, _ = alone.step(batch)
    assert not differ(generator_gradient(before), generator_gradient(after))
    batch["answer"][1] = 255 - batch["answer"][1]
    after, _ = alone.step(batch)
    assert differ(generator_gradient(before), generator_gradient(after))
    assert metrics["answer_loss"] > 0


def test_terms_without_weight_are_not_computed(alone):
    after, metrics = alone.step(batch_with_answers())
    assert {name for name in metrics if name.endswith("_loss")} == {"generator_loss", "answer_loss"}
    assert not differ(after.params["discriminator"], alone.state.params["discriminator"])
    assert not differ(after.opt_state["discriminator"], alone.state.opt_state["discriminator"])


def test_an_answer_that_is_reached_has_no_loss():
    config = config_with(loss__answer=1.0, data__answer_share=0.5, model__output="change")
    run = Run(config)
    block = run.state.params["generator"]["generator"]["block_2"]
    for name in list(block):
        if name.startswith("conv"):
            block[name] = jax.tree.map(lambda leaf: 0 * leaf, block[name])
    batch = batch_with_answers()
    batch["answer"] = batch["target"]
    _, metrics = run.step(batch)
    assert metrics["answer_loss"] == 0


def test_pseudo_targets_have_the_photograph_as_their_answer():
    config = config_with(loss__answer=1.0, data__pseudo_share=0.5, model__output="change")
    run = Run(config)
    batch = pair_batch(4, same=0.25)
    batch["pseudo"] = np.array([0, 1, 0, 1], np.float32)
    average = run.state.ema_params["generator"]
    swaps = jax.jit(run.task.predict)(run.state, run.frozen, batch)["swap"]
    _, metrics = run.step(batch)
    assert metrics["answer_loss"] > 0
    # Its step does not train the average, and the pseudo target follows it.
    moved = jax.tree.map(lambda leaf: leaf * 1.5, average)
    state, run.state = run.state, run.state.replace(ema_params={"generator": moved})
    _, other = run.step(batch)
    assert other["answer_loss"] != metrics["answer_loss"]
    batch["pseudo"] = np.zeros(4, np.float32)
    _, none = run.step(batch)
    assert none["answer_loss"] == 0
    assert swaps.shape == (4, SIZE, SIZE, 3)
    assert state.step == 0


def test_perceptual_loss_teaches_the_generator_alone():
    config = config_with(
        loss__perceptual=100.0, loss__answer=0.0, data__answer_share=0.5, data__identity_views=2
    )
    run = Run(config)
    batch = batch_with_answers()
    before, metrics = run.step(batch)
    assert metrics["perceptual_loss"] > 0
    batch["answer"][1] = 255 - batch["answer"][1]
    after, _ = run.step(batch)
    gradients = [state.opt_state["discriminator"][0].mu for state in (before, after)]
    assert not differ(*gradients)
    assert differ(generator_gradient(before), generator_gradient(after))
    # Views are keyed by their seeds.
    batch["view_seed"] = batch["view_seed"] + np.uint32(17)
    _, others = run.step(batch)
    assert others["identity_loss"] != metrics["identity_loss"]


def test_another_network_can_judge_the_loss():
    config = config_with(identity__loss_weights="runs/other", identity__enough_cosine=0.1)
    task = AEITask(config)
    config.identity.weights = "runs/identity"
    assert set(AEITask(config).frozen_sources()) == {"identity", "identity_loss"}
    frozen = task.load_frozen(
        {"identity": identity_weights(), "identity_loss": identity_weights(seed=8)}
    )
    _, metrics = Run(config, frozen).step(pair_batch(4))
    same = task.load_frozen({"identity": identity_weights()})
    _, others = Run(aei_config(), same).step(pair_batch(4))
    assert metrics["source_cosine"] != others["source_cosine"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss__answer": 1.0}, "answer_share"),
        ({"data__answer_share": 0.5}, "nothing learns"),
        ({"data__pseudo_share": 0.5}, "nothing learns"),
        ({"answer__distance": "cubic"}, "squared, absolute"),
        ({"answer__differ_weight": 0.5}, "at least 1"),
        ({"answer__differ_weight": float("nan")}, "at least 1"),
        ({"identity__enough_cosine": 0.0}, "at most 1"),
        (
            {"loss__perceptual": 1.0, "loss__adversarial": 0.0, "data__answer_share": 0.5},
            "does not train",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        AEITask(config_with(**settings))
