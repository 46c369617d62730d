"""Training feeds a generator as its contract says, and what it leaves behind says so again."""

import dataclasses

import jax
import numpy as np
import pytest
from tiny_tasks import (
    SIZE,
    aei_config,
    generator_weights,
    hear_config,
    identity_weights,
    load_identity,
    make_state,
    networks_of,
    pair_batch,
)

from faceshifter_jax.errors import UserError
from faceshifter_jax.networks.channels import in_rgb
from faceshifter_jax.networks.contract import WHOLE, Contract, View, WantedIdentity
from faceshifter_jax.networks.generator import generator_from
from faceshifter_jax.networks.network import Weights
from faceshifter_jax.networks.trained import parts_of
from faceshifter_jax.tasks import AEITask, HEARTask
from faceshifter_jax.tasks.warm_start import choose_networks

GHOST = {
    "identity.embedding": "raw",
    "identity.region": WHOLE,
    "identity.resize": "corners",
    "data.alignment": "insightface-0.2",
}
CONTRACT = Contract("insightface-0.2", embedding="raw", view=View(WHOLE, "corners"))


def config_with(changes):
    config = aei_config()
    config.update_from_flattened_dict(changes)
    return config


def test_the_trained_generator_swaps_as_it_was_trained_to():
    config = config_with(GHOST)
    task = AEITask(config)
    state, batch = make_state(task), pair_batch(2, same=0)
    params = {**state.params, **state.ema_params}
    network = networks_of(task, params, state.batch_stats)["generator"]
    assert network.contract == CONTRACT
    generator = generator_from(Weights({"generator": network}, "runs/aei"))
    identity = load_identity(task)["identity"]
    assert identity.view == View(WHOLE, "corners")
    source, target = (batch[name] / np.float32(127.5) - 1 for name in ("source", "target"))

    def swap(generator, identity, source, target):
        features = identity.features(source)
        return generator.swap(target, features), generator.swap(target, 3 * features)

    ours, longer = jax.jit(swap)(generator, identity, source, target)
    drawn = jax.jit(task.predict)(state, load_identity(task), batch)["swap"]
    np.testing.assert_allclose(ours, drawn, atol=1e-5)
    assert np.abs(ours - longer).max() > 1e-3
    # The same weights, fed in the usual way, are another network.
    usual = AEITask(aei_config())
    other = jax.jit(usual.predict)(state, load_identity(usual), batch)["swap"]
    assert np.abs(other - drawn).max() > 1e-3


def test_a_step_reaches_the_generator_by_the_raw_embedding():
    tasks = {embedding: AEITask(config_with({"identity.embedding": embedding})) for embedding in
             ("unit", "raw")}  # fmt: skip
    batch = pair_batch(2, same=0)
    losses = {}
    for embedding, task in tasks.items():
        _, metrics = jax.jit(task.make_step(None))(make_state(task), load_identity(task), batch)
        losses[embedding] = float(metrics["generator_loss"])
        # Cosines are of unit length either way.
        assert 0 <= float(metrics["identity_loss"]) <= 2
    assert losses["unit"] != pytest.approx(losses["raw"], rel=1e-4)


def test_a_published_generator_names_the_settings_that_it_needs():
    network = dataclasses.replace(generator_weights().networks["generator"], contract=CONTRACT)
    source = Weights({"generator": network}, "ghost.safetensors")
    with pytest.raises(UserError) as error:
        choose_networks(AEITask(aei_config()), [source])
    for flag in (
        "--config.identity.embedding=raw",
        "--config.identity.region='(0,256)'",
        "--config.identity.resize=corners",
        "--config.data.alignment=insightface-0.2",
    ):
        assert flag in str(error.value)
    networks, _ = choose_networks(AEITask(config_with(GHOST)), [source])
    assert networks["generator"] is network.variables


def begin_with(identity, *, wanted=None, frozen=None):
    """Lines of a training run that begins with a generator that wants an identity network."""
    source = generator_weights()
    network = source.networks["generator"]
    network = dataclasses.replace(network, contract=Contract(identity=wanted))
    weights = Weights({"generator": network}, "g.safetensors", frozen=frozen or {})
    _, lines = choose_networks(AEITask(aei_config()), [weights], identity)
    return [line for line in lines if line.startswith("warning")]


def test_fine_tuning_asks_for_the_identity_network_of_the_generator():
    identity = identity_weights()
    settings = {"architecture": "IResNet", **identity.networks["identity"].settings}
    same = WantedIdentity("its own network", tuple(settings.items()))
    assert begin_with(identity) == []
    assert begin_with(identity, wanted=same) == []
    (line,) = begin_with(identity, wanted=WantedIdentity("another", (("depth", 101),)))
    assert "trained with another; runs/identity holds another network, IResNet" in line
    assert line.endswith("name it with config.identity.weights")
    (line,) = begin_with(identity, wanted=dataclasses.replace(same, is_one_of_many=True))
    assert "there are several with other weights" in line
    with pytest.raises(UserError, match=r"fed BGR pictures, runs/identity says RGB"):
        begin_with(identity, wanted=dataclasses.replace(same, channel_order="bgr"))
    with pytest.raises(UserError, match=r"for another identity network than the one in runs/id"):
        begin_with(identity, wanted=dataclasses.replace(same, sha256="2e"))
    assert begin_with(identity, wanted=dataclasses.replace(same, sha256="1d")) == []
    # Of one that was trained here its checkpoint says it.
    made_with = {"identity": {"path": "runs/before", "sha256": "2e"}}
    (line,) = begin_with(identity, frozen=made_with)
    assert "set config.identity.weights to runs/before" in line
    made_with = {"identity": {"path": "runs/before", "sha256": "1d"}}
    assert begin_with(identity, frozen=made_with) == []


def test_networks_of_bgr_pictures_begin_as_the_same_ones_of_rgb_pictures():
    source = generator_weights()
    network = dataclasses.replace(source.networks["generator"], channel_order="bgr")
    networks, _ = choose_networks(
        AEITask(aei_config()), [Weights({"generator": network}, "taotaonice.safetensors")]
    )
    jax.tree.map(np.testing.assert_array_equal, networks["generator"], in_rgb(network).variables)
    first = networks["generator"]["params"]["encoder"]["down_0"]["kernel"]
    before = network.variables["params"]["encoder"]["down_0"]["kernel"]
    np.testing.assert_array_equal(first, before[:, :, ::-1])


def test_the_second_stage_is_trained_on_faces_aligned_like_the_first_ones():
    aei = generator_weights()
    aei.networks["generator"] = dataclasses.replace(aei.networks["generator"], contract=CONTRACT)
    sources = {"identity": identity_weights(), "aei": aei}
    with pytest.raises(UserError, match=r"aligned by insightface-0.2: .*--config.data.alignment"):
        HEARTask(hear_config()).load_frozen(sources)
    config = hear_config()
    config.data.alignment = "insightface-0.2"
    frozen = HEARTask(config).load_frozen(sources)
    assert frozen["identity"].view == View(WHOLE, "corners")
    assert frozen["aei"].embedding == "raw"
    assert frozen["aei"].size == SIZE


@pytest.mark.parametrize(
    "changes",
    [
        {"identity.embedding": "long"},
        {"identity.region": (200, 100)},
        {"identity.resize": "nearest"},
        {"data.alignment": "dlib"},
    ],
)
def test_impossible_feedings_are_refused(changes):
    with pytest.raises(UserError, match=r"config\.data\.alignment must be one of"):
        AEITask(config_with(changes))


def test_configs_from_before_contracts_mean_the_usual_way():
    config = aei_config().to_dict()
    for section, key in (
        *(("identity", key) for key in ("embedding", "region", "resize")),
        ("data", "alignment"),
    ):
        del config[section][key]
    assert parts_of({"config": config}, "runs/aei")["generator"].network.contract == Contract()
