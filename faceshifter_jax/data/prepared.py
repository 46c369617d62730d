"""Reading a prepared dataset, record by record and without TensorFlow."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from faceshifter_jax.data.answers import AnswerGrid, answer_grid
from faceshifter_jax.data.description import check_files, check_metadata, check_picture, damaged
from faceshifter_jax.data.embedded import code_of_identity, sample_scene
from faceshifter_jax.data.preparation.publish import DATASET_MARK
from faceshifter_jax.data.seeds import identity_seed
from faceshifter_jax.errors import UserError
from faceshifter_jax.media.images import decode_picture
from faceshifter_jax.paths import check_text

_OF_RENDERED = ("arcface", "taotaonice")
_HOW_TO_PREPARE = (
    "make one with `faceshifter prepare PHOTOS OUT --size N` or `faceshifter render OUT --size N`"
)


class PreparedDataset:
    """A dataset written by `prepare_folder` or `prepare_embedded`.

    Attributes:
        path: its directory.
        metadata: what the preparation recorded, such as `identity_names` or `occluder_share`.
        image_size: height and width of its pictures in pixels.
        identities: int64 (num_pictures,), the identity of every picture: 0 …
            num_identities - 1, or -1 where it is unknown.
        alignment: how its faces are aligned, a key of `faces.alignment.ALIGNMENTS`; None where
            that is not known. See `is_aligned_by`.
        is_rendered: whether it holds the embedded faces.
        num_pictures: number of records.
        num_identities: number of known identities.
        fingerprint: a hash (hex) of the number of records and the metadata, which holds picture
            size, identities and a hash of their names: different pictures give a different
            fingerprint.
        answers: where right answers of swaps are; None unless it was rendered in groups.
    """

    answers: AnswerGrid | None

    def __init__(self, path: str | Path, *, cache_megabytes: float = 0.0):
        """Opens a dataset; keeps decoded pictures in memory if all fit `cache_megabytes`.

        Raises:
            UserError: `path` is missing or not a prepared dataset.
        """
        self.path = Path(path)
        self._source, self.metadata = _open(self.path)
        self.image_size = int(self.metadata["size"])
        self.is_rendered = "occluder_share" in self.metadata
        self.alignment = self.metadata.get("alignment", "arcface" if self.is_rendered else None)
        self.identities = np.asarray(self.metadata["identities"], np.int64)
        self.num_pictures = len(self._source)
        self.num_identities = int(self.metadata["num_identities"])
        if len(self.identities) != self.num_pictures:
            counts = f"{self.num_pictures} records, {len(self.identities)} identities"
            raise damaged(self.path, counts)
        self.answers = answer_grid(self.metadata, self.num_pictures)
        facts = json.dumps([self.num_pictures, self.metadata], sort_keys=True)
        self.fingerprint = hashlib.sha256(facts.encode()).hexdigest()
        shape = (self.num_pictures, self.image_size, self.image_size, 3)
        fits = np.prod(shape, dtype=np.float64) <= cache_megabytes * 2**20
        self._cache = np.empty(shape, np.uint8) if fits else None
        self._is_cached = np.zeros(self.num_pictures, bool)

    @property
    def cache_bytes(self) -> int:
        """Memory for decoded pictures; 0 where they do not fit and none is kept."""
        return 0 if self._cache is None else self._cache.nbytes

    def __len__(self) -> int:
        return self.num_pictures

    def summary(self) -> str:
        """Describes in one line what the dataset holds."""
        parts = [
            f"{self.num_pictures} pictures of {self.image_size} pixels",
            f"{self.num_identities} known identities",
        ]
        if self.answers:
            parts.append(f"in groups of {self.answers.group_size} under the same attributes")
        if left_out := self.metadata.get("num_left_out", 0):
            parts.append(f"{left_out} files left out (named in left_out.txt)")
        return f"{self.path}: {', '.join(parts)}"

    def is_aligned_by(self, alignment: str) -> bool:
        """Whether, as far as is known, its faces are where `alignment` would have put them.

        Rendered faces are at the ArcFace template to the pixel, however one fits it.
        """
        if self.is_rendered:
            return alignment in _OF_RENDERED
        return self.alignment in (None, alignment)

    def record(self, index: int) -> dict[str, Any]:
        """Reads a record: `image` still encoded (bytes), `identity`, `name` (str), seeds (int).

        Raises:
            UserError: it is damaged.
        """
        record = self._read(index)
        seeds = {name: int(record[name]) for name in record if name.endswith("_seed")}
        return {
            "image": record["image"],
            "identity": int(record["identity"]),
            "name": record["name"].decode("utf-8", "surrogateescape"),
        } | seeds

    def picture(self, index: int) -> np.ndarray:
        """Reads a picture: uint8 (image_size, image_size, 3), RGB; read-only.

        Raises:
            UserError: it is damaged.
        """
        if self._cache is None:
            return self._decode(index)
        if not self._is_cached[index]:
            # Two threads may decode the same picture: they write the same bytes.
            self._cache[index] = self._decode(index)
            self._is_cached[index] = True
        return self._cache[index]

    def _decode(self, index: int) -> np.ndarray:
        encoded = self._read(index)["image"]
        try:
            picture = decode_picture(encoded)
        except MemoryError:
            raise
        # Broken pictures make Pillow raise nearly anything.
        except Exception as error:
            raise damaged(self.path, f"record {index}: {error}") from error
        check_picture(self.path, index, picture, self.image_size)
        return picture

    def _read(self, index: int) -> dict[str, Any]:
        try:
            record = self._source[index]
        except RuntimeError as error:
            raise damaged(self.path, f"record {index}: {error}") from error
        # TFDS reads an empty record behind the end of a file that was cut short.
        if record["image"] is None:
            raise damaged(self.path, f"record {index} is empty")
        return record

    def identity_code(self, identity: int) -> np.ndarray:
        """Returns the numbers that describe a rendered person, float32 (N,).

        Raises:
            UserError: the dataset holds photographs.
        """
        self._check_rendered()
        return code_of_identity(identity_seed(int(self.metadata["seed"]), identity))

    def _check_rendered(self) -> None:
        if "occluder_share" not in self.metadata:
            raise UserError(f"{self.path} holds photographs: only rendered faces have a scene")

    def scene(self, index: int) -> tuple:
        """Returns the (Identity, Attributes) that a rendered picture was made from.

        Raises:
            UserError: the dataset holds photographs.
        """
        self._check_rendered()
        record = self.record(index)
        return sample_scene(
            record["identity_seed"], record["attribute_seed"], self.metadata["occluder_share"]
        )


def _open(path: Path) -> tuple[Any, dict[str, Any]]:
    if not path.is_dir():
        raise UserError(f"there is no prepared dataset at {path}: {_HOW_TO_PREPARE}")
    if not (path / DATASET_MARK).is_file():
        raise UserError(f"{path} is not a prepared dataset: {_HOW_TO_PREPARE}")
    check_text(path)
    # Imported here: TFDS takes half a second, and a wrong path can be reported without it.
    import tensorflow_datasets as tfds

    check_files(path)
    try:
        return _open_described(path, tfds)
    except (MemoryError, UserError):
        raise
    # TFDS raises nearly anything for a description that was changed.
    except Exception as error:
        raise damaged(path, str(error) or type(error).__name__) from error


def _open_described(path: Path, tfds: Any) -> tuple[Any, dict[str, Any]]:
    builder = tfds.builder_from_directory(path)
    metadata = dict(builder.info.metadata or {})
    if "identities" not in metadata or "train" not in builder.info.splits:
        raise UserError(f"the dataset in {path} was not made by faceshifter: {_HOW_TO_PREPARE}")
    check_metadata(path, metadata)
    files = builder.info.splits["train"].filepaths
    if not all(Path(file).is_file() for file in files):
        raise UserError(f"the dataset in {path} is incomplete: prepare it again")
    # Pillow always decodes the pictures: TFDS would use OpenCV where it is installed.
    skip = {"image": tfds.decode.SkipDecoding()}
    source = builder.as_data_source("train", decoders=skip)
    last = source[len(source) - 1]
    if last.keys() < {"image", "identity", "name"}:
        raise damaged(path, "its records do not have the parts of a faces dataset")
    return source, metadata
