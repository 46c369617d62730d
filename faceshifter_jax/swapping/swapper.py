"""Swapping faces in whole pictures with a trained network."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from faceshifter_jax.errors import UserError
from faceshifter_jax.faces.alignment import resize_square
from faceshifter_jax.faces.face import Detector
from faceshifter_jax.faces.finder import Embed, FaceFinder
from faceshifter_jax.faces.names import DEFAULT_DETECTOR
from faceshifter_jax.media.as_photo import Picture, as_photo, to_square
from faceshifter_jax.media.levels import to_uint8
from faceshifter_jax.media.photo_files import publish_photo
from faceshifter_jax.media.photos import Photo, repaint
from faceshifter_jax.media.provenance.statement import Provenance
from faceshifter_jax.swapping.assignment import (
    Assignment,
    ByPerson,
    OneSource,
    Replacement,
    Sources,
    Which,
    check_squares,
    stack_sources,
)
from faceshifter_jax.swapping.defaults import (
    DEFAULT_MASK,
    DEFAULT_THRESHOLD,
    MASKS,
    check_strength,
)
from faceshifter_jax.swapping.pasting import put_back
from faceshifter_jax.swapping.people import (
    Source,
    align_person,
    assign_people,
    one_or_several,
    photos_of,
)
from faceshifter_jax.swapping.results import Explanation, Swap, SwappedFace

SwapSquares = Callable[..., np.ndarray]
"""B sources, of `stack_sources`, and aligned targets, uint8 (B, S, S, 3), to swaps, the same.

Where less than the full strength is wanted, it is the third argument."""

# Pictures wait for others to fill a batch with; so many pixels of them at most.
_WAITING_PIXELS = 50 * 2**20


class Swapper:
    """Puts faces of pictures into others; its network is loaded and compiled once.

    Attributes:
      image_size: side in pixels of the squares that the network makes.
      square_size: side in pixels of the aligned squares that it gets, the same unless it was
        published with another.
      finder: finds, aligns and embeds faces.
      provenance: the statement of provenance in outputs; None for a network without a file.
      batch_size: how many squares the network takes at once; any other number is cut and filled up.
      mask: what of a face is replaced, one of `defaults.MASKS`.
    """

    def __init__(
        self,
        network: SwapSquares,
        image_size: int,
        detector: Detector | str | None = None,
        *,
        embed: Embed | None = None,
        explain: Callable[..., Explanation] | None = None,
        provenance: Provenance | None = None,
        batch_size: int = 1,
        square_size: int | None = None,
        alignment: str = "arcface",
        mask: str = DEFAULT_MASK,
    ):
        """Uses a network directly; `load` reads a trained one.

        Args:
          network: swaps aligned squares.
          image_size: side in pixels of what it makes.
          detector: finds the faces; a name, None for the default, is started when it is first
            needed.
          embed: tells people apart, for `assign_people`.
          explain: like `network`, to what explains its swaps.
          provenance: the statement of provenance in outputs.
          batch_size: squares that are collected for one call of `network`.
          square_size: side in pixels of the squares that it gets; None for `image_size`.
          alignment: how they are cut from photographs, a key of `faces.alignment.ALIGNMENTS`.
          mask: what of a face is replaced, one of `defaults.MASKS`.
        """
        if mask not in MASKS:
            raise ValueError(f"mask must be one of {', '.join(MASKS)}, not {mask!r}")
        self.mask = mask
        self._network = network
        self._explain = explain
        self.batch_size = batch_size
        self.image_size = image_size
        self.provenance = provenance
        self.square_size = square_size or image_size
        detector = DEFAULT_DETECTOR if detector is None else detector
        self.finder = FaceFinder(self.square_size, detector, embed, alignment)

    @classmethod
    def load(
        cls,
        checkpoint: str,
        *,
        identity: str | None = None,
        hear: str | None = None,
        detector: Detector | str | None = None,
        batch_size: int | None = None,
        alignment: str | None = None,
        mask: str = DEFAULT_MASK,
    ) -> "Swapper":
        """Reads a trained network. Of a `hear` training run both stages are used.

        Args:
          checkpoint: workdir of an `aei` or `hear` training run, or a converted generator.
          identity: its identity network; None for the one it was trained with.
          hear: a HEAR-Net as second stage; None for only that of a `hear` training run.
          detector: as in the constructor.
          batch_size: faces that go through the network together; None for 1 on a CPU and 8 on an
            accelerator. The network is compiled for it when it is first called, and never again.
          alignment: how faces are cut from photographs, a key of `faces.alignment.ALIGNMENTS`;
            None for what the network was trained on.
          mask: as in the constructor.

        Raises:
          UserError: not such a network, or its identity network is not known or another one.
        """
        # Not at the top: jax takes seconds, and mistakes in file names are found without it.
        from faceshifter_jax.swapping.stages import default_batch_size, load_stages

        batch_size = batch_size or default_batch_size()
        stages = load_stages(checkpoint, identity, hear, batch_size=batch_size, alignment=alignment)

        def explain(sources: Sources, target: np.ndarray, strength: float = 1.0) -> Explanation:
            masks = to_uint8(stages.masks(sources, target, strength), 0, 1)
            return Explanation(to_uint8(stages.errors(target), -1, 1), masks)

        provenance = Provenance(
            checkpoint_sha256=stages.generator.sha256,
            hear_sha256=stages.hear.sha256 if stages.hear else None,
            identity_sha256=stages.generator.frozen["identity"]["sha256"],
        )
        return cls(
            stages.swap,
            stages.image_size,
            detector,
            embed=stages.embed,
            explain=explain,
            provenance=provenance,
            batch_size=batch_size,
            square_size=stages.square_size,
            alignment=stages.contract.alignment,
            mask=mask,
        )

    def swap(
        self, source: Source, target: Picture, *, faces: Which = "largest", strength: float = 1.0
    ) -> np.ndarray:
        """Swaps the source's face, the largest if there are several, into the target.

        Args:
          source: who is to be seen; a list of photos of one person gives the mean of their
            embeddings.
          target: the picture that is to show that person.
          faces: the target's faces that are replaced, its "largest" or "all".
          strength: how much of the source is seen, from 0 to 1. It is a step in the embedding, not
            in the pixels: the network gets (1 - strength) * the target's own embedding + strength *
            the source's, which is set to unit length unless the network takes raw embeddings.
            At 0 it redraws the target's own face.

        Returns:
          uint8 (H, W, 3), the target with another face; its other pixels are as they were.

        Raises:
          UserError: a file that is not a picture, a picture without a face, or a strength that is
            not between 0 and 1.
        """
        assignment = self.assign_source(source, faces)[0]
        return self.swap_photo(assignment, target, strength=strength).photo.pixels

    def assign_source(
        self, source: Source, faces: Which = "largest"
    ) -> tuple[OneSource, list[str]]:
        """Prepares one person for `swap_photo`.

        Args:
          source: a photo of that person, or a list of several.
          faces: the target's faces that are replaced, its "largest" or "all".

        Returns:
          the assignment, and notes on the source.

        Raises:
          UserError: a file that is not a picture, or a picture without a face.
        """
        if faces not in ("largest", "all"):
            raise ValueError(f'faces must be "largest" or "all", not {faces!r}')
        squares, notes = align_person(self.finder, source)
        return OneSource(squares, faces), notes

    def assign_people(
        self, people: Sequence[tuple[Picture, Source]], *, threshold: float = DEFAULT_THRESHOLD
    ) -> tuple[ByPerson, list[str]]:
        """Prepares several people for `swap_photo`, each of whom takes the place of another.

        Args:
          people: for each a picture of who is in the targets, and one, or a list of several, of
            who is to be seen.
          threshold: the cosine of their embeddings from which two faces are one person's.

        Returns:
          the assignment, and notes on the pictures.

        Raises:
          UserError: a file that is not a picture, or a picture without a face.
        """
        return assign_people(self.finder, people, threshold)

    def swap_photo(
        self,
        assignment: Assignment,
        target: Picture,
        *,
        explain: bool = False,
        strength: float = 1.0,
    ) -> Swap:
        """Swaps what an assignment says in one target.

        Args:
          assignment: of `assign_source` or `assign_people`.
          target: the picture.
          explain: whether the faces get their `explanation`.
          strength: see `swap`.

        Raises:
          UserError: a file that is not a picture, or a picture without such a face.
        """
        result = next(self.swap_photos(assignment, [target], explain=explain, strength=strength))
        if isinstance(result, UserError):
            raise result
        return result

    def swap_photos(
        self,
        assignment: Assignment,
        targets: Iterable[Picture],
        *,
        explain: bool = False,
        strength: float = 1.0,
    ) -> Iterator[Swap | UserError]:
        """Like `swap_photo` for many targets, whose faces share the network's batches.

        Yields:
          for each target in turn the swap, or the error that says why there is none.
        """
        check_strength(strength)
        waiting: list[tuple[Photo, list[Replacement], list[str]] | UserError] = []
        for target in targets:
            try:
                photo = as_photo(target, "the target")
                faces = self.finder.require(photo.pixels, photo.name)
                waiting.append((photo, *assignment.choose(self.finder, faces, photo.name)))
            except UserError as error:
                waiting.append(error)
            found = [entry for entry in waiting if not isinstance(entry, UserError)]
            full = sum(len(replaced) for _, replaced, _ in found) >= self.batch_size
            large = sum(photo.pixels[..., 0].size for photo, _, _ in found) >= _WAITING_PIXELS
            if full or large or not found:
                yield from self._finish(waiting, explain, strength)
                waiting = []
        yield from self._finish(waiting, explain, strength)

    def swap_aligned(self, source: Source, target: Picture, *, strength: float = 1.0) -> np.ndarray:
        """Swaps between pictures that are aligned already, without looking for faces.

        Args:
          source, target, strength: as in `swap`; squares of any size.

        Returns:
          uint8 (S, S, 3), the network's results.

        Raises:
          UserError: a file that is not a picture, or a picture that is not square.
        """
        return self.swap_squares(source, target, strength=strength).photo.pixels

    def swap_squares(
        self, source: Source, target: Picture, *, explain: bool = False, strength: float = 1.0
    ) -> Swap:
        """Like `swap_aligned`, as a `Swap`."""
        check_strength(strength)
        target = as_photo(target, "the target")
        # Photos of several sizes, where one of them is the network's own.
        squares = [self._to_square(photo) for photo in photos_of(source)]
        source = one_or_several([resize_square(square, len(squares[0])) for square in squares])
        (face,) = self._run([source], self._to_square(target)[None], explain, strength)
        # The metadata of the target's pixels is not true of the network's.
        return Swap(Photo(face.swapped, target.name), (face,))

    def save(
        self,
        swap: Swap,
        path: str | Path,
        *,
        overwrite: bool = False,
        provenance: bool = True,
    ) -> list[str]:
        """Writes a swap with the target's metadata and the statement of where it comes from.

        Returns:
          notes on what the file's format could not hold.

        Raises:
          UserError: as `publish_photo`.
        """
        with publish_photo(path, overwrite=overwrite, marked=provenance) as write:
            return write(swap.photo, self.provenance if provenance else None)

    def swap_batch(
        self, sources: np.ndarray, targets: np.ndarray, *, strength: float = 1.0
    ) -> np.ndarray:
        """Swaps aligned squares, uint8 (B, S, S, 3) each, to the same.

        Args:
          sources, targets: any number of squares from one on, whose side is `square_size`.
          strength: see `swap`.

        Returns:
          uint8 (B, S, S, 3), S being `image_size`.

        Raises:
          ValueError: they are not such arrays.
        """
        check_squares(sources, targets, self.square_size)
        check_strength(strength)
        return self.run_network(sources, targets, strength)

    def run_network(
        self, sources: Sources, targets: np.ndarray, strength: float = 1.0
    ) -> np.ndarray:
        """Like `swap_batch`, of sources that may be several photos each, without checks."""
        return self._network(stack_sources(sources), targets, *_beyond_full(strength))

    def _to_square(self, photo: Photo) -> np.ndarray:
        # A square of the network's own size needs no resizing, whatever is cut from photographs.
        is_ready = photo.pixels.shape[:2] == (self.image_size, self.image_size)
        return photo.pixels if is_ready else to_square(photo, self.square_size)

    def _finish(
        self,
        waiting: list[tuple[Photo, list[Replacement], list[str]] | UserError],
        explain: bool,
        strength: float,
    ) -> Iterator[Swap | UserError]:
        replaced = [
            one for entry in waiting if not isinstance(entry, UserError) for one in entry[1]
        ]
        swapped = iter(())
        if replaced:
            targets = np.stack([one.face.square for one in replaced])
            swapped = self._run([one.source for one in replaced], targets, explain, strength)
        for entry in waiting:
            if isinstance(entry, UserError):
                yield entry
                continue
            photo, own, notes = entry
            faces = [next(swapped) for _ in own]
            squares = [face.swapped for face in faces]
            pixels = put_back(photo.pixels, [one.face for one in own], squares, self.mask)
            yield Swap(repaint(photo, pixels), tuple(faces), (*photo.notes, *notes))

    def _run(
        self, sources: Sources, targets: np.ndarray, explain: bool, strength: float
    ) -> Iterator[SwappedFace]:
        swapped = self.run_network(sources, targets, strength)
        explained = None
        if explain:
            if self._explain is None:
                raise ValueError("this swapper's network cannot be explained")
            explained = self._explain(stack_sources(sources), targets, *_beyond_full(strength))
        for i, (target, square) in enumerate(zip(targets, swapped, strict=True)):
            own = None
            if explained is not None:
                own = Explanation(explained.errors[i : i + 1], explained.masks[i : i + 1])
            yield SwappedFace(resize_square(target, len(square)), square, own)


def _beyond_full(strength: float) -> tuple[float, ...]:
    """The argument for a network that may know no strength but the full one."""
    return () if strength == 1 else (strength,)
