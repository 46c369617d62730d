"""Finding right answers in a dataset of rendered faces whose people come in groups.

All people of a group were rendered under the same sets of attributes, so the swap of two of them
is a picture of the dataset: the source's person under the target's attributes.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np


class SourceWithAnswer(NamedTuple):
    """Indices of two pictures: a source for some target, and the right answer of the swap."""

    source: int
    answer: int


@dataclasses.dataclass(frozen=True)
class AnswerGrid:
    """The order of pictures in such a dataset: person by person, each under the same attributes.

    Picture `who * num_attributes + how` shows person `who` under set of attributes `how` of their
    group; person `who` is in group `who // group_size`.
    """

    group_size: int
    """People in a group, at least 2."""
    num_attributes: int
    """Sets of attributes of a group, and so pictures of each person, at least 2."""

    def choose(self, target: int, rng: np.random.Generator) -> SourceWithAnswer:
        """Chooses another person of the target's group under other attributes than the target's."""
        who, how = divmod(target, self.num_attributes)
        first = who // self.group_size * self.group_size
        choice, which = rng.random(2)
        other = first + _other_than(who - first, choice, self.group_size)
        otherwise = _other_than(how, which, self.num_attributes)
        start = other * self.num_attributes
        return SourceWithAnswer(source=start + otherwise, answer=start + how)


def answer_grid(metadata: Mapping[str, Any], num_pictures: int) -> AnswerGrid | None:
    """Returns the grid of a dataset with this metadata; None if people are not in groups."""
    group_size = int(metadata.get("group_size", 1))
    if group_size < 2:
        return None
    return AnswerGrid(group_size, num_pictures // int(metadata["num_identities"]))


def _other_than(taken: int, choice: float, number: int) -> int:
    """Maps `choice` in [0, 1) to one of 0 … `number` - 1 without `taken`."""
    other = int(choice * (number - 1))
    return other + (other >= taken)
