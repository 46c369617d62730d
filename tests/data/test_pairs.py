import numpy as np
import pytest

from faceshifter_jax.data.pairs import PictureSet, build_pair_choosers
from faceshifter_jax.errors import UserError

# Identity 2 has a single picture, two are unknown; on purpose not sorted.
IDENTITIES = np.array([1, 0, -1, 1, 2, 0, -1, 1, 0, 0])


def choose_many(identities, same_picture, same_identity, each=2000):
    (chooser,) = build_pair_choosers([PictureSet(identities)], same_picture, same_identity)
    rng = np.random.default_rng(0)
    return [chooser.choose(target, rng) for target in range(len(identities)) for _ in range(each)]


def test_shares_are_what_was_asked_for():
    pairs = choose_many(IDENTITIES, 0.2, 0.3)
    same_picture = np.mean([pair.same_picture for pair in pairs])
    same_identity = np.mean([pair.same_identity and not pair.same_picture for pair in pairs])
    assert same_picture == pytest.approx(0.2, abs=0.015)
    assert same_identity == pytest.approx(0.3, abs=0.015)


def test_pairs_are_what_they_claim():
    for pair in choose_many(IDENTITIES, 0.2, 0.3):
        source, target = IDENTITIES[pair.source], IDENTITIES[pair.target]
        if pair.same_picture:
            assert pair.same_identity
        else:
            assert pair.same_identity == (source == target and source >= 0)


def test_strangers_are_drawn_evenly():
    sources = [pair.source for pair in choose_many(IDENTITIES, 0, 0) if pair.target == 0]
    counts = np.bincount(sources, minlength=10)
    allowed = IDENTITIES != 1
    assert not counts[~allowed].any()
    np.testing.assert_allclose(counts[allowed], 2000 / allowed.sum(), rtol=0.25)


def test_partners_are_drawn_evenly():
    pairs = choose_many(np.array([0, 0, 0, 0]), 0, 1)
    sources = [pair.source for pair in pairs if pair.target == 2]
    np.testing.assert_allclose(np.bincount(sources, minlength=4), [667, 667, 0, 667], atol=120)


def test_unknown_pictures_never_pair_with_themselves_by_chance():
    pairs = choose_many(np.full(3, -1), 0, 0)
    assert not any(pair.same_picture or pair.same_identity for pair in pairs)
    assert {(pair.source, pair.target) for pair in pairs} == {
        (a, b) for a in range(3) for b in range(3) if a != b
    }


def test_extreme_shares():
    assert all(pair.same_picture for pair in choose_many(IDENTITIES, 1, 0))
    assert not any(pair.same_picture for pair in choose_many(IDENTITIES, 0, 0))


@pytest.mark.parametrize(
    ("identities", "shares", "message"),
    [
        ([-1, -1, -1], (0.2, 0.1), "no identity has two pictures"),
        ([0, 1, 2], (0.2, 0.1), "no identity has two pictures"),
        ([0, 0, 1, 2], (0.2, 0.5), "at most 0.400"),
        ([0, 0, 0], (0.2, 0.1), "one identity"),
    ],
)
def test_impossible_pairs_are_refused(identities, shares, message):
    with pytest.raises(UserError, match=message):
        build_pair_choosers([PictureSet(np.array(identities))], *shares)


def test_one_identity_will_do_without_strangers():
    pairs = choose_many(np.array([0, 0, 0]), 0.7, 0.3)
    assert all(pair.same_identity for pair in pairs)
