"""The statement of where a film comes from: as tags of its container, and as XMP in MP4 files."""

import struct
import uuid
from pathlib import Path
from typing import Any

from faceshifter_jax.media.provenance.statement import Provenance

# Where XMP is in ISO base media files (ISO 16684-3, and what other tools read): a box of its own.
_XMP_BOX = uuid.UUID("be7acfcb-97a9-42e8-9c71-999491e3afac").bytes
# Tags of a container's format, not of the film.
_TAGS_OF_FORMAT = {"compatible_brands", "encoder", "major_brand", "minor_version"}


def tags_for(tags: dict[str, str], provenance: Provenance | None) -> dict[str, str]:
    """Returns a film's tags for a film that was made of it: its own ones, and the statement."""
    own = {key: value for key, value in tags.items() if key.lower() not in _TAGS_OF_FORMAT}
    return own if provenance is None else own | provenance.to_pairs()


def append_xmp(path: Path, provenance: Provenance) -> None:
    """Adds the statement to a complete MP4 or MOV file as XMP."""
    packet = provenance.to_xmp()
    with path.open("ab") as file:
        file.write(struct.pack(">I4s", 8 + len(_XMP_BOX) + len(packet), b"uuid"))
        file.write(_XMP_BOX + packet)


def read_film(path: Path) -> Provenance | None:
    """Reads a film's statement of provenance; None if it has none.

    Raises:
      UserError: it cannot be read as a film.
    """
    # Not at the top: FFmpeg is large, and pictures have no use for it.
    from faceshifter_jax.media.video_container import open_container

    with open_container(path, options={"export_xmp": "1"}) as container:
        # Some containers write keys in capitals.
        tags = {key.lower(): value for key, value in _all_tags(container).items()}
    found = Provenance.from_pairs(tags)
    if found is None and tags.get("xmp"):
        found = Provenance.from_xmp(tags["xmp"].encode("utf-8", "replace"))
    return found


def _all_tags(container: Any) -> dict[str, str]:
    tags: dict[str, str] = {}
    for stream in container.streams:
        tags |= stream.metadata
    return tags | container.metadata
