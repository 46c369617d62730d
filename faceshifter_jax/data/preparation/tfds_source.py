"""Photographs of a dataset that TFDS knows: `faceshifter prepare tfds:NAME[/CONFIG] OUT`.

The pictures are unpacked as the files that they are, not decoded, a folder for each label, and
prepared from there as any folder is.
"""

import contextlib
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from faceshifter_jax.data.preparation.publish import make_parent
from faceshifter_jax.errors import UserError
from faceshifter_jax.runtime.progress import Progress

PREFIX = "tfds:"
_LABEL = "label"
_PNG = b"\x89PNG"
_LONGEST_NAME = 80


@contextlib.contextmanager
def unpacked(name: str, beside: str) -> Iterator[str]:
    """Unpacks the pictures of a dataset for the time of the context.

    Args:
      name: "tfds:NAME" or "tfds:NAME/CONFIG". It is downloaded and prepared by TFDS where that
        has not happened yet, into TFDS's own folder (`TFDS_DATA_DIR`, `~/tensorflow_datasets`).
      beside: what is to be written; the pictures wait on the same disk.

    Yields:
      a folder: pictures of people with a label are in one folder for each, all others at its top.

    Raises:
      UserError: TFDS has no such dataset or cannot get it, or it is not one of pictures.
    """
    builder = _prepare(name)
    image, label = _features(builder, name)
    out = Path(beside).absolute()
    make_parent(out)
    with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=out.parent) as folder:
        total = sum(split.num_examples for split in builder.info.splits.values())
        progress = Progress(f"unpacking {name}", total)
        for picture, who in _read(builder, name, image, label):
            path = Path(folder, *([who] if who else []), f"{progress.done:08d}{_suffix(picture)}")
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(picture)
            progress.advance()
        progress.finish()
        yield folder


def _prepare(name: str) -> Any:
    import tensorflow_datasets as tfds

    wanted = name.removeprefix(PREFIX)
    if not wanted:
        raise UserError(f"{name} names no dataset: write one of TFDS's after it, as in tfds:lfw")
    try:
        builder = tfds.builder(wanted)
        # Only this format can be read without TensorFlow; what is there in another one stays.
        builder.download_and_prepare(file_format="array_record")
    except tfds.core.DatasetNotFoundError as error:
        raise UserError(
            f"TFDS knows no dataset {wanted!r}: https://www.tensorflow.org/datasets/catalog lists "
            "them"
        ) from error
    # Builders raise what they like: without a network, for files to be fetched by hand, ...
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UserError(f"TFDS cannot get {wanted!r}: {reason:.400}") from error
    return builder


def _features(builder: Any, name: str) -> tuple[str, str | None]:
    """The names of the feature with the picture, and of that with the person, if there is one."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    images = [key for key in features if isinstance(features[key], tfds.features.Image)]
    if len(images) > 1 and "image" in images:
        images = ["image"]
    if len(images) != 1:
        found = f"{len(images)} of them" if images else f"only {', '.join(features)}"
        raise UserError(f"{name} must have one picture in each example, and has {found}")
    kinds = (tfds.features.ClassLabel, tfds.features.Text)
    known = _LABEL in features and isinstance(features[_LABEL], kinds)
    return images[0], _LABEL if known else None


def _read(
    builder: Any, name: str, image: str, label: str | None
) -> Iterator[tuple[bytes, str | None]]:
    """Yields each picture's file, and the folder of the person, split by split in TFDS's order."""
    folders = _Folders()
    for split in builder.info.splits:
        for example in _examples(builder, name, split, image):
            who = None
            if label is not None:
                value = example[label]
                feature = builder.info.features[label]
                text = feature.int2str(int(value)) if hasattr(feature, "int2str") else value
                who = folders.of(text.decode() if isinstance(text, bytes) else str(text))
            yield bytes(example[image]), who


def _examples(builder: Any, name: str, split: str, image: str) -> Iterable[Mapping[str, Any]]:
    import tensorflow_datasets as tfds

    decoders = {image: tfds.decode.SkipDecoding()}
    try:
        return builder.as_data_source(split=split, decoders=decoders)
    except NotImplementedError:
        pass
    try:
        return builder.as_dataset(split=split, decoders=decoders).as_numpy_iterator()
    except ImportError as error:
        raise UserError(
            f"{name} was prepared earlier in {builder.data_dir} in a format that only TensorFlow "
            "reads: install the extra tensorflow, or remove that folder"
        ) from error


class _Folders:
    """Names of folders for labels, which may be any text; different ones stay different."""

    def __init__(self):
        self._by_label: dict[str, str] = {}

    def of(self, label: str) -> str:
        if label not in self._by_label:
            plain = re.sub(r"[^\w .()'-]", "_", label).strip(" .")[:_LONGEST_NAME] or "_"
            taken = plain in self._by_label.values()
            self._by_label[label] = f"{plain}~{len(self._by_label)}" if taken else plain
        return self._by_label[label]


def _suffix(picture: bytes) -> str:
    return ".png" if picture.startswith(_PNG) else ".jpg"
