"""The statement that a picture or a film was swapped: by which software and which networks."""

from collections.abc import Mapping
from dataclasses import dataclass

import faceshifter_jax
from faceshifter_jax.media.provenance import xmp

COMPOSITE_WITH_SYNTHETIC = (
    "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
)
"""The term for a picture partly made by a trained network (IPTC NewsCodes, Digital Source Type:
https://cv.iptc.org/newscodes/digitalsourcetype/)."""

SOFTWARE = "faceshifter_jax"
_CREATOR_TOOL = xmp.name(xmp.XMP_BASIC, "CreatorTool")
# Key -> property. Those of IPTC are of its Photo Metadata Standard 2025.1.
_PROPERTIES = {
    "digital_source_type": xmp.name(xmp.IPTC_EXTENSION, "DigitalSourceType"),
    "software": xmp.name(xmp.IPTC_EXTENSION, "AISystemUsed"),
    "software_version": xmp.name(xmp.IPTC_EXTENSION, "AISystemVersionUsed"),
    "checkpoint_sha256": xmp.name(xmp.OWN, "CheckpointSHA256"),
    "hear_sha256": xmp.name(xmp.OWN, "HearSHA256"),
    "identity_sha256": xmp.name(xmp.OWN, "IdentitySHA256"),
}


@dataclass(frozen=True)
class Provenance:
    """A statement of where a picture comes from.

    Attributes:
      checkpoint_sha256: of the AEI-Net's weights; None in statements of other software.
      hear_sha256: of the HEAR-Net's weights, None without a second stage.
      identity_sha256: of the identity network's weights.
      digital_source_type: a term of IPTC's vocabulary, as its IRI.
      software: what made the picture.
      software_version: its version.
    """

    checkpoint_sha256: str | None = None
    hear_sha256: str | None = None
    identity_sha256: str | None = None
    digital_source_type: str | None = COMPOSITE_WITH_SYNTHETIC
    software: str | None = SOFTWARE
    software_version: str | None = faceshifter_jax.__version__

    def to_pairs(self) -> dict[str, str]:
        """Returns plain keys and values, as for a film's container; without those that are None."""
        pairs = {key: getattr(self, key) for key in _PROPERTIES}
        return {key: value for key, value in pairs.items() if value is not None}

    @classmethod
    def from_pairs(cls, pairs: Mapping[str, str | None]) -> "Provenance | None":
        """Reads the result of `to_pairs` among other keys; None if none of them is there."""
        if not any(pairs.get(key) for key in _PROPERTIES):
            return None
        return cls(**{key: pairs.get(key) for key in _PROPERTIES})

    def to_xmp(self, previous: bytes | None = None) -> bytes:
        """Returns an XMP packet with this statement that keeps the other content of `previous`."""
        properties = {_PROPERTIES[key]: value for key, value in self.to_pairs().items()}
        if self.software:
            properties[_CREATOR_TOOL] = f"{self.software} {self.software_version or ''}".strip()
        return xmp.build_packet(properties, previous, replaced=_PROPERTIES.values())

    @classmethod
    def from_xmp(cls, packet: bytes) -> "Provenance | None":
        """Reads a packet of this or other software; None if it holds no statement."""
        found = xmp.read_properties(packet)
        return cls.from_pairs({key: found.get(full) for key, full in _PROPERTIES.items()})
