"""Choosing the source picture for a target picture."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from faceshifter_jax.data.answers import AnswerGrid
from faceshifter_jax.errors import UserError

_TOLERANCE = 1e-9


class Pair(NamedTuple):
    """Indices of two pictures; `same_identity` says that both are known to show one person.

    `answer` is the index of the picture that a swap of the two should give, where it was chosen
    with one.
    """

    source: int
    target: int
    same_identity: bool
    answer: int | None = None

    @property
    def same_picture(self) -> bool:
        return self.source == self.target


@dataclasses.dataclass(frozen=True)
class PairChooser:
    """Chooses sources such that both shares hold over all targets, each visited equally often."""

    order: np.ndarray
    """int64 (N,): the pictures sorted by identity."""
    place: np.ndarray
    """int64 (N,): where a picture is in `order`."""
    first: np.ndarray
    """int64 (N,): where in `order` the pictures of a picture's identity begin."""
    count: np.ndarray
    """int64 (N,): how many pictures a picture's identity has; 1 for an unknown identity."""
    same_picture_share: float
    partner_chance: float = 0.0
    """Probability that a target with other pictures of its identity gets one of them."""
    answers: AnswerGrid | None = None
    """The positions of right answers, if `answer_share` is above 0."""
    answer_share: float = 0.0
    """Share of the pairs of different people that are chosen with an answer."""

    def choose(self, target: int, rng: np.random.Generator) -> Pair:
        """Chooses a source for a target: a function of the target and the generator's state."""
        choice, which = rng.random(2)
        count, first = int(self.count[target]), int(self.first[target])
        if choice < self.same_picture_share:
            return Pair(target, target, True)
        choice -= self.same_picture_share
        if count > 1 and choice < self.partner_chance:
            place = first + int(which * (count - 1))
            place += place >= self.place[target]
            return Pair(int(self.order[place]), target, True)
        if self.answers is not None and rng.random() < self.answer_share:
            source, answer = self.answers.choose(target, rng)
            return Pair(source, target, False, answer)
        place = int(which * (len(self.order) - count))
        place += count if place >= first else 0
        return Pair(int(self.order[place]), target, False)


class PictureSet(NamedTuple):
    """The parts of one dataset from which pairs are made.

    Attributes:
        identities: int64 (N,), of every picture, -1 where it is unknown.
        targets: indices of the pictures that can be targets.
        share: of all pairs that come from this dataset.
        answers: where right answers are; None where there are none.
        name: of the dataset, for errors.
    """

    identities: np.ndarray
    targets: np.ndarray | slice = slice(None)
    share: float = 1.0
    answers: AnswerGrid | None = None
    name: str = "the dataset"


def build_pair_choosers(
    sets: Sequence[PictureSet],
    same_picture_share: float,
    same_identity_share: float,
    *,
    answer_share: float = 0.0,
) -> list[PairChooser]:
    """Builds the choosers of the pairs of each dataset, such that the shares hold over all of them.

    Where some pictures are the only ones of their identity, the others get a partner more often, so
    that the share over all pairs is the requested one. In datasets with answers a
    share `answer_share` of the pairs of different people is chosen with one.

    Raises:
        UserError: the pictures do not allow such pairs.
    """
    choosers = [
        _order_by_identity(
            one.identities,
            same_picture_share=same_picture_share,
            answers=one.answers if answer_share > 0 else None,
            answer_share=answer_share,
        )
        for one in sets
    ]
    eligible = sum(
        one.share * float(np.mean(chooser.count[one.targets] > 1))
        for one, chooser in zip(sets, choosers, strict=True)
    )
    chance = _partner_chance(eligible, same_picture_share, same_identity_share)
    needs_strangers = same_picture_share + same_identity_share < 1 - _TOLERANCE
    for one, chooser in zip(sets, choosers, strict=True):
        if needs_strangers and chooser.count[0] == len(one.identities):
            raise UserError(
                f"all pictures of {one.name} show one identity, so there are no pairs of different "
                "people: add pictures of others, or let the shares of same pictures and "
                "identities sum up to 1"
            )
    return [dataclasses.replace(chooser, partner_chance=chance) for chooser in choosers]


def _order_by_identity(identities: np.ndarray, **shares: Any) -> PairChooser:
    number = len(identities)
    groups = _make_unknown_unique(identities)
    order = np.argsort(groups, kind="stable")
    place = np.empty(number, np.int64)
    place[order] = np.arange(number)
    _, first, inverse, count = np.unique(
        groups[order], return_index=True, return_inverse=True, return_counts=True
    )
    group = inverse[place]
    return PairChooser(order=order, place=place, first=first[group], count=count[group], **shares)


def _make_unknown_unique(identities: np.ndarray) -> np.ndarray:
    unknown = identities < 0
    groups = identities.copy()
    groups[unknown] = identities.max(initial=0) + 1 + np.arange(unknown.sum())
    return groups


def _partner_chance(eligible: float, same_picture: float, same_identity: float) -> float:
    """Returns the probability of a partner for targets that have one, a share `eligible` of all."""
    if same_identity == 0:
        return 0.0
    if eligible == 0:
        raise UserError(
            "data.same_identity_share is above 0, but no identity has two pictures: prepare a "
            "folder with one sub-folder per identity, or set it to 0"
        )
    most = (1 - same_picture) * eligible
    if same_identity > most + _TOLERANCE:
        raise UserError(
            f"data.same_identity_share can be at most {most:.3f} here: only {eligible:.1%} of the "
            "pictures have another one of the same identity"
        )
    return same_identity / eligible
