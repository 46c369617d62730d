import pytest
from ml_collections import ConfigDict

from faceshifter_jax.data.settings import DataSettings, read_settings
from faceshifter_jax.errors import UserError


def test_missing_keys_take_the_defaults():
    assert read_settings("pairs", {"path": "x"}) == DataSettings(path="x")


def test_config_dicts_are_read():
    settings = ConfigDict({"path": "x", "colour_jitter": 0.5, "same_picture_share": 1})
    checked = read_settings("pairs", settings)
    assert (checked.colour_jitter, checked.same_picture_share) == (0.5, 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "data.path is empty"),
        ({"path": ""}, "data.path is empty"),
        ({"path": "x", "color_jitter": 0.1}, "data.color_jitter is not a setting"),
        ({"path": "x", "same_picture_share": 1.2}, "data.same_picture_share must lie"),
        ({"path": "x", "same_identity_share": -0.1}, "data.same_identity_share must lie"),
        ({"path": "x", "same_picture_share": 0.7, "same_identity_share": 0.4}, "not exceed 1"),
        ({"path": "x", "colour_jitter": 2.0}, "data.colour_jitter must lie"),
        ({"path": "x", "num_threads": -1}, "data.num_threads must be at least 0"),
        ({"path": "x", "prefetch_batches": 0}, "data.prefetch_batches must be at least 1"),
        ({"path": "x", "horizontal_flip": "yes"}, "data.horizontal_flip must be of type bool"),
        ({"path": "x", "colour_jitter": True}, "data.colour_jitter must be of type float"),
        ({"path": 3}, "data.path must be of type str"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(UserError, match=message):
        read_settings("pairs", settings)


def test_pair_settings_have_no_meaning_for_identities():
    with pytest.raises(UserError, match=r"data\.same_picture_share is not a setting"):
        read_settings("identities", {"path": "x", "same_picture_share": 0.2})


def test_unknown_kinds_are_refused():
    with pytest.raises(UserError, match="choose one of pairs, identities"):
        read_settings("triplets", {"path": "x"})
