"""Who is to be seen on which faces of a video: decided once a track, so that nothing flickers."""

from collections.abc import Sequence

import numpy as np

from faceshifter_jax.errors import UserError
from faceshifter_jax.swapping.casting import DEFAULT_THRESHOLD, ByPerson, Casting, OneSource
from faceshifter_jax.swapping.tracking import Track, group_people


def cast_tracks(
    casting: Casting, tracks: Sequence[Track], name: str
) -> tuple[list[tuple[Track, np.ndarray]], list[str]]:
    """Chooses among the tracks of a video.

    "largest" is the one person who is seen largest and longest in the whole video; "all" is every
    face; people are told apart by the mean embedding of each track.

    Args:
      casting: as for photographs.
      tracks: of the video; at least one.
      name: of the video.

    Returns:
      tracks with the face that each gets, uint8 (S, S, 3), and notes for the user.

    Raises:
      UserError: none of them is to be swapped.
    """
    # What is seen once is most often not a face.
    lasting = [track for track in tracks if len(track.frames) > 1] or list(tracks)
    if isinstance(casting, ByPerson):
        return _cast_people(casting, lasting, name)
    if not isinstance(casting, OneSource):
        raise TypeError(f"a {type(casting).__name__} is not for videos")
    if casting.which == "all":
        return [(track, casting.source) for track in lasting], []
    people = group_people(lasting, DEFAULT_THRESHOLD)
    chosen = people[0]
    if chosen[0].embedding is None:
        # Without an identity network: the largest face at any time.
        chosen = []
        for track in sorted(lasting, key=lambda track: -track.presence):
            if not any(track.overlaps(other) for other in chosen):
                chosen.append(track)
        return [(track, casting.source) for track in chosen], []
    notes = []
    if len(people) > 1:
        shares = [sum(track.presence for track in person) for person in people]
        notes.append(
            f"{name}: {len(people)} people are seen; the one seen largest and longest is swapped "
            f"({shares[0] / sum(shares):.0%} of all that faces cover), in frames "
            f"{_spans(chosen)}; --faces all swaps everyone"
        )
    return [(track, casting.source) for track in chosen], notes


def _cast_people(
    casting: ByPerson, tracks: Sequence[Track], name: str
) -> tuple[list[tuple[Track, np.ndarray]], list[str]]:
    cosines = np.stack([track.embedding for track in tracks]) @ casting.embeddings.T
    owners: list[list[Track]] = [[] for _ in casting.names]
    chosen = []
    # Nobody is in one frame twice: the surest come first.
    for index in np.argsort(-cosines, axis=None, kind="stable").tolist():
        row, person = divmod(index, len(casting.names))
        track = tracks[row]
        taken = any(track is other for other, _ in chosen)
        twice = any(track.overlaps(other) for other in owners[person])
        if cosines[row, person] >= casting.threshold and not taken and not twice:
            owners[person].append(track)
            chosen.append((track, casting.sources[person]))
    if not chosen:
        raise UserError(
            f"none of the people to be replaced was found in {name}: the best cosine is "
            f"{cosines.max():.2f}, and --threshold is {casting.threshold:.2f}"
        )
    notes = [
        f"{name}: {person} is in frames {_spans(own)}, best cosine {column.max():.2f}"
        if own
        else f"{name}: {person} was not found, best cosine {column.max():.2f}"
        for person, own, column in zip(casting.names, owners, cosines.T, strict=True)
    ]
    return chosen, notes


def _spans(tracks: Sequence[Track], most: int = 4) -> str:
    spans = sorted((track.start, track.stop - 1) for track in tracks)
    text = ", ".join(f"{start} to {last}" for start, last in spans[:most])
    return text if len(spans) <= most else f"{text} and {len(spans) - most} more spans"
