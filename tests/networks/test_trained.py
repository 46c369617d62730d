"""What checkpoints say of their networks, and what is read of those that say nothing."""

import dataclasses
import json

import pytest
from tiny_tasks import aei_config, arcface_config, hear_config

from faceshifter_jax.errors import UserError
from faceshifter_jax.networks.network import plain
from faceshifter_jax.networks.trained import describe_parts, parts_of
from faceshifter_jax.tasks import build_task

CONFIGS = {"arcface": arcface_config, "aei": aei_config, "hear": hear_config}


def known(parts):
    def without_weights(network):
        return dataclasses.replace(network, variables={}, settings=plain(network.settings))

    return {
        role: (without_weights(part.network), part.player, part.inside)
        for role, part in parts.items()
    }


@pytest.mark.parametrize("task", CONFIGS)
def test_a_checkpoint_says_which_networks_it_holds(task):
    parts = build_task(CONFIGS[task]()).networks()
    meta = {"networks": json.loads(json.dumps(describe_parts(parts))), "config": {}}
    assert known(parts_of(meta, "run")) == known(parts)


@pytest.mark.parametrize("task", CONFIGS)
def test_a_checkpoint_from_before_it_said_so_is_read_by_its_config(task):
    config = CONFIGS[task]()
    meta = {"config": json.loads(json.dumps(config.to_dict()))}
    assert known(parts_of(meta, "run")) == known(build_task(config).networks())


def test_a_task_that_is_not_known_has_no_networks():
    assert parts_of({"config": {"task": "toy"}}, "run") == {}


@pytest.mark.parametrize("change", [{"player": None, "depth": 3}, {"channel_order": "cmyk"}])
def test_a_description_of_another_version_is_refused_in_one_line(change):
    described = describe_parts(build_task(hear_config()).networks())
    described["hear"] |= change
    with pytest.raises(UserError, match="in a way that this version does not know") as error:
        parts_of({"networks": described, "config": {}}, "run")
    assert "\n" not in str(error.value)
