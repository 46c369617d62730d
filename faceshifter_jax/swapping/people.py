"""The photos of people: whose face is taken of each, and several of one person."""

from collections.abc import Sequence
from typing import cast

import numpy as np

from faceshifter_jax.faces.finder import AlignedFace, FaceFinder
from faceshifter_jax.media.as_photo import Picture, as_photo, name_of
from faceshifter_jax.media.photos import Photo
from faceshifter_jax.swapping.assignment import ByPerson, stack_sources
from faceshifter_jax.swapping.defaults import DEFAULT_THRESHOLD

Source = Picture | Sequence[Picture]
"""A photo of a person, or several; a list or a tuple is several."""


def photos_of(source: Source) -> list[Photo]:
    """Reads the photos of one person; raises as `as_photo`."""
    if not isinstance(source, list | tuple):
        return [as_photo(cast(Picture, source), "the source")]
    if not source:
        raise ValueError("the source is an empty list: name at least one photo")
    return [as_photo(photo, "the source") for photo in source]


def largest_face(finder: FaceFinder, photo: Photo) -> tuple[AlignedFace, list[str]]:
    """Finds the largest face of a photo.

    Returns:
      the face, and notes for the user.

    Raises:
      UserError: there is none.
    """
    faces = finder.require(photo.pixels, photo.name)
    notes = []
    if len(faces) > 1:
        notes.append(f"{photo.name}: of its {len(faces)} faces the largest is taken, {faces[0]}")
    return faces[0], notes


def align_person(finder: FaceFinder, source: Source) -> tuple[np.ndarray, list[str]]:
    """Cuts the face of one person out of their photos.

    Returns:
      uint8 (S, S, 3), or (K, S, S, 3) of several photos, and notes for the user, such as on a photo
      that seems to show somebody else.

    Raises:
      UserError: a photo cannot be read, or has no face.
    """
    photos = photos_of(source)
    faces, notes = zip(*(largest_face(finder, photo) for photo in photos), strict=True)
    told = [note for found in notes for note in found]
    if len(faces) > 1 and finder.can_embed:
        told += _note_on_others(finder.embed(faces), [photo.name for photo in photos])
    return one_or_several([face.square for face in faces]), told


def assign_people(
    finder: FaceFinder, people: Sequence[tuple[Picture, Source]], threshold: float
) -> tuple[ByPerson, list[str]]:
    """See `Swapper.assign_people`."""
    if not len(people):
        raise ValueError("people must hold at least one pair of pictures")
    persons = [as_photo(person, "the person to be replaced") for person, _ in people]
    replaced, notes = zip(*(largest_face(finder, photo) for photo in persons), strict=True)
    seen, more_notes = zip(*(align_person(finder, source) for _, source in people), strict=True)
    assignment = ByPerson(
        tuple(name_of(person, number) for number, (person, _) in enumerate(people, 1)),
        finder.embed(replaced),
        stack_sources(seen),
        threshold,
    )
    return assignment, [note for found in (*notes, *more_notes) for note in found]


def one_or_several(squares: Sequence[np.ndarray]) -> np.ndarray:
    """Returns a single square as it is, several stacked."""
    return squares[0] if len(squares) == 1 else np.stack(squares)


def _note_on_others(embeddings: np.ndarray, names: Sequence[str]) -> list[str]:
    """Says which photo may show another person, if one does; embeddings are (K, E)."""
    others = embeddings.sum(0) - embeddings
    cosines = (embeddings * others).sum(1) / np.maximum(np.linalg.norm(others, axis=1), 1e-9)
    least = int(cosines.argmin())
    if cosines[least] >= DEFAULT_THRESHOLD:
        return []
    rest = "the other photos of that person" if len(names) > 2 else names[1 - least]
    return [
        f"{names[least]} is not much like {rest}, cosine {cosines[least]:.2f}: leave it out if it "
        "shows somebody else"
    ]
