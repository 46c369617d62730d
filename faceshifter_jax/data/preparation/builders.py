"""The TFDS builders: a folder of photographs, and the embedded faces.

Both write array_record, keep their records in order, and store in the dataset's metadata what a
loader needs to know before reading records: `size`, `num_identities` and the identity of every
record.
"""

import functools
import hashlib
import io
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from faceshifter_jax.data.embedded import EmbeddedPicture, render_alike
from faceshifter_jax.errors import UserError
from faceshifter_jax.media.folders import PictureFile
from faceshifter_jax.media.images import ReadPicture, read_photo
from faceshifter_jax.runtime.progress import Progress
from faceshifter_jax.runtime.workers import map_in_order

SPLIT = "train"
UNKNOWN_IDENTITY = -1

_SHOWN = 3
# Of a file; about 128 MB of pictures that compress to a byte a pixel.
_SHARD_PIXELS = 2**27
# Handed over at once, from memory: after each batch, the writer rewrites the description.
_BATCH_PIXELS = 2**24


class _FaceBuilder(tfds.core.GeneratorBasedBuilder):
    """Base class of both builders; abstract."""

    VERSION = tfds.core.Version("1.0.0")
    DESCRIPTION = ""
    EXTRA_FEATURES: tuple[str, ...] = ()
    skip_registration = True
    # TFDS would look for checksums of downloads next to this file, with a package that it does not
    # declare (importlib_resources).
    code_path = None

    def __init__(self, *, size: int, num_workers: int, **tfds_arguments: Any):
        self._size = size
        self._num_workers = num_workers
        super().__init__(file_format="array_record", **tfds_arguments)

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(shape=(self._size, self._size, 3)),
            "identity": np.int64,
            "name": tfds.features.Text(),
        } | dict.fromkeys(self.EXTRA_FEATURES, np.int64)
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.DESCRIPTION,
            features=tfds.features.FeaturesDict(features),
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(size=self._size),
        )

    def _add_facts(self, **facts: Any) -> None:
        assert self.info.metadata is not None  # `_info` makes it.
        self.info.metadata.update(facts)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        return {SPLIT: self._generate_examples()}

    @property
    def size(self) -> int:
        """Pixels a side."""
        return self._size

    def records(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yields number and content of every record; the metadata is complete after the last."""
        return self._generate_examples()


def write_dataset(builder: _FaceBuilder) -> Path:
    """Writes the dataset of a builder, records in their order; returns its directory.

    TFDS's own way would sort the records by a hash of their keys, on a second copy on disk and,
    above 1 GB, by TensorFlow.
    """
    directory = Path(builder.data_dir)
    directory.mkdir(parents=True)
    pixels = builder.size**2
    writer = tfds.core.SequentialWriter(
        builder.info,
        max_examples_per_shard=max(1, _SHARD_PIXELS // pixels),
        file_format="array_record",
    )
    writer.initialize_splits([SPLIT])
    records = (record for _, record in builder.records())
    while batch := list(itertools.islice(records, max(1, _BATCH_PIXELS // pixels))):
        writer.add_examples({SPLIT: batch})
    writer.close_all()
    return directory


class FaceFolder(_FaceBuilder):
    """A folder of photographs, one identity a sub-folder.

    Records: `image` uint8 (size, size, 3), `identity` int64 (index into the metadata's
    `identity_names`, -1 for pictures at the top of the folder), `name` (path below the folder).
    """

    DESCRIPTION = "Photographs of faces, cut to squares of one size."
    skip_registration = False

    def __init__(
        self,
        *,
        photos: Path,
        files: Sequence[PictureFile],
        size: int,
        num_workers: int,
        pictures: Iterator[ReadPicture] | None = None,
        num_ready: int = 0,
        alignment: str | None = None,
        **tfds_arguments: Any,
    ):
        """`files` are the result of `read_folder(photos).pictures`.

        `pictures` are the results for each of them, the first `num_ready` from an earlier run; None
        to read them with `read_photo`. `alignment` says how the faces are aligned, if known.
        """
        self._photos = photos
        self._files = files
        self._pictures = pictures
        self._num_ready = num_ready
        self._alignment = alignment
        self.left_out: list[tuple[str, str]] = []
        """(name, reason) of every file that could not be used, once prepared."""
        super().__init__(size=size, num_workers=num_workers, **tfds_arguments)

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        progress = Progress("preparing", len(self._files))
        pictures = self._pictures or self._read()
        identity_names: dict[str, int] = {}
        identities = []
        names, num_named = hashlib.sha256(), 0
        progress.skip(self._num_ready)
        for index, (file, picture) in enumerate(zip(self._files, pictures, strict=True)):
            if index >= self._num_ready:
                progress.advance()
            if picture.encoded is None:
                self.left_out.append((file.name, picture.problem or "cannot be used"))
            else:
                identities.append(
                    identity_names.setdefault(file.identity, len(identity_names))
                    if file.identity
                    else UNKNOWN_IDENTITY
                )
                names.update(_raw_name(file.name) + b"\0")
                yield index, _record(picture.encoded, identities[-1], file.name)
            # If no picture can be used at all, the error names them.
            if identities:
                num_named = self._name_left_out(progress, num_named)
        self._check_some_left(identities)
        progress.finish()
        self._add_facts(
            num_left_out=len(self.left_out),
            names_sha256=names.hexdigest(),
            num_identities=len(identity_names),
            identity_names=list(identity_names),
            identities=identities,
        )
        if self._alignment:
            self._add_facts(alignment=self._alignment)

    def _read(self) -> Iterator[ReadPicture]:
        read = functools.partial(read_photo, size=self._size)
        paths = [self._photos / file.name for file in self._files]
        return map_in_order(read, paths, num_workers=self._num_workers)

    def _name_left_out(self, progress: Progress, num_named: int) -> int:
        """Reports those not reported yet; returns the number reported now."""
        for name, problem in self.left_out[num_named:]:
            progress.note(f"left out {name}: {problem}")
        return len(self.left_out)

    def _check_some_left(self, identities: Sequence[int]) -> None:
        if identities:
            return
        shown = "; ".join(f"{name}: {problem}" for name, problem in self.left_out[:_SHOWN])
        more = len(self.left_out) - _SHOWN
        raise UserError(
            f"none of the {len(self._files)} files in {self._photos} is a picture that can be "
            f"used ({shown}{f'; and {more} more' if more > 0 else ''})"
        )


class EmbeddedFaces(_FaceBuilder):
    """Rendered faces with known identity and attributes.

    Records: `image` uint8 (size, size, 3), `identity` int64 (0 … num_identities - 1), `name`
    ("IDENTITY_SEED/ATTRIBUTE_SEED"), `identity_seed` and `attribute_seed` int64.
    """

    DESCRIPTION = "Faces rendered from the embedded head model."
    EXTRA_FEATURES = ("identity_seed", "attribute_seed")
    skip_registration = False

    def __init__(
        self,
        *,
        pictures: Sequence[EmbeddedPicture],
        seed: int,
        occluder_share: float,
        group_size: int,
        size: int,
        num_workers: int,
        **tfds_arguments: Any,
    ):
        """`pictures` are the result of `plan_embedded(...)` for that `seed` and `group_size`."""
        self._pictures = pictures
        self._seed = seed
        self._occluder_share = occluder_share
        self._group_size = group_size
        super().__init__(size=size, num_workers=num_workers, **tfds_arguments)

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        progress = Progress("rendering", len(self._pictures))
        rendered = zip(self._pictures, self._render(), strict=True)
        for index, (picture, image) in enumerate(rendered):
            progress.advance()
            name = f"{picture.identity_seed}/{picture.attribute_seed}"
            yield (
                index,
                _record(image, picture.identity, name)
                | {
                    "identity_seed": picture.identity_seed,
                    "attribute_seed": picture.attribute_seed,
                },
            )
        progress.finish()
        identities = [picture.identity for picture in self._pictures]
        self._add_facts(
            num_identities=max(identities) + 1,
            identities=identities,
            seed=self._seed,
            occluder_share=self._occluder_share,
        )
        # Without groups a dataset is byte for byte what older versions wrote.
        if self._group_size > 1:
            self._add_facts(group_size=self._group_size)

    def _render(self) -> Iterator[bytes]:
        """Yields the pictures in their order; those of a group under the same attributes are
        rendered one after the other."""
        each = len(self._pictures) // (self._pictures[-1].identity + 1)
        span = self._group_size * each
        alike = [
            self._pictures[first + how : first + span : each]
            for first in range(0, len(self._pictures), span)
            for how in range(each)
        ]
        render = functools.partial(
            render_alike, size=self._size, occluder_share=self._occluder_share
        )
        rendered = map_in_order(render, alike, num_workers=self._num_workers)
        while group := list(itertools.islice(rendered, each)):
            for who in range(self._group_size):
                yield from (pictures[who] for pictures in group)


def _raw_name(name: str) -> bytes:
    # File names need not be UTF-8: their bytes are kept as they are.
    return name.encode("utf-8", "surrogateescape")


def _record(encoded: bytes, identity: int, name: str) -> dict[str, Any]:
    return {"image": io.BytesIO(encoded), "identity": identity, "name": _raw_name(name)}
