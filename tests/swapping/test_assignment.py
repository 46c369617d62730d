"""Who takes whose place."""

from types import SimpleNamespace

import numpy as np
import pytest

from faceshifter_jax.errors import UserError
from faceshifter_jax.faces.alignment import find_alignment, template_landmarks
from faceshifter_jax.faces.face import Face
from faceshifter_jax.faces.finder import AlignedFace
from faceshifter_jax.swapping.assignment import ByPerson, OneSource, match

ANN, BEN, CAT, DAN = np.eye(4, dtype=np.float32)


def face_at(left):
    square = np.zeros((64, 64, 3), np.uint8)
    face = Face(template_landmarks(64), np.array((left, 0, left + 20, 30), np.float32), 1.0)
    return AlignedFace(face, find_alignment(face.landmarks, 64), square)


def assign(assignment, *embeddings):
    faces = [face_at(100 * i) for i in range(len(embeddings))]
    finder = SimpleNamespace(embed=lambda faces: np.stack(embeddings))
    replaced, notes = assignment.choose(finder, faces, "t.jpg")
    return [(faces.index(one.face), int(one.source[0, 0, 0])) for one in replaced], notes


@pytest.fixture
def by_person():
    """Ann becomes picture 0, Ben picture 1."""
    sources = np.stack([np.full((64, 64, 3), i, np.uint8) for i in range(2)])
    return ByPerson(("ann.jpg", "ben.jpg"), np.stack([ANN, BEN]), sources, threshold=0.5)


def test_people_are_replaced_each_by_their_own_and_others_stay(by_person):
    replaced, notes = assign(by_person, BEN, CAT, ANN)
    assert replaced == [(0, 1), (2, 0)]
    assert len(notes) == 1
    assert notes[0].startswith("left as it is, the face of 20x30 pixels at (100, 0): the nearest")


def test_nobody_is_there_twice_and_who_is_absent_is_named(by_person):
    rather = 0.8 * ANN + 0.6 * CAT
    replaced, notes = assign(by_person, rather, ANN)
    assert replaced == [(1, 0)]
    assert "ann.jpg, cosine 0.80" in notes[0]
    assert notes[1] == "not found: ben.jpg"


def test_below_the_threshold_it_is_somebody_else(by_person):
    hardly = 0.45 * ANN + np.sqrt(1 - 0.45**2) * DAN
    with pytest.raises(UserError, match=r"none of the people .* t\.jpg: the best cosine is 0\.45"):
        assign(by_person, hardly, CAT)


def test_all_are_matched_best_together():
    assert match(np.array([[0.9, 0.85], [0.8, 0.1]]), 0.3) == [1, 0]
    assert match(np.array([[0.9, 0.1]]), 0.3) == [0]
    assert match(np.array([[0.1], [0.3], [0.2]]), 0.3) == [None, 0, None]


def test_one_source_for_the_largest_or_for_all():
    source = np.full((64, 64, 3), 7, np.uint8)
    replaced, notes = assign(OneSource(source), ANN, BEN)
    assert replaced == [(0, 7)]
    assert "of its 2 faces the largest is swapped" in notes[0]
    assert assign(OneSource(source), ANN) == ([(0, 7)], [])
    assert assign(OneSource(source, "all"), ANN, BEN) == ([(0, 7), (1, 7)], [])
