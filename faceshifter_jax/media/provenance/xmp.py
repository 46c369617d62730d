"""XMP packets (ISO 16684-1): simple text properties written into one and read from one."""

import contextlib
from collections.abc import Mapping
from xml.etree import ElementTree

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
META = "adobe:ns:meta/"
IPTC_EXTENSION = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
XMP_BASIC = "http://ns.adobe.com/xap/1.0/"
DC = "http://purl.org/dc/elements/1.1/"
TIFF = "http://ns.adobe.com/tiff/1.0/"

_PREFIXES = {
    "rdf": RDF,
    "x": META,
    "Iptc4xmpExt": IPTC_EXTENSION,
    "xmp": XMP_BASIC,
    "tiff": TIFF,
    "exif": "http://ns.adobe.com/exif/1.0/",
    "dc": DC,
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
    "xmpMM": "http://ns.adobe.com/xap/1.0/mm/",
}
_BEGIN = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
_END = '\n<?xpacket end="w"?>'
# They were true of the stored picture: its rotation is applied, its preview shows the old face.
_OUTDATED = (f"{{{TIFF}}}Orientation", f"{{{XMP_BASIC}}}Thumbnails")
_LARGEST_PACKET = 16 * 2**20


def name(namespace: str, property_name: str) -> str:
    """Returns a property's full name, "{namespace}property"."""
    return f"{{{namespace}}}{property_name}"


def build_packet(properties: Mapping[str, str], previous: bytes | None = None) -> bytes:
    """Builds a packet with simple properties.

    Args:
      properties: full name -> text.
      previous: a packet whose other properties are kept, if it can be read; what it says of the
        same properties, of rotation and of thumbnails is not.

    Returns:
      the packet, UTF-8.
    """
    for prefix, namespace in _PREFIXES.items():
        ElementTree.register_namespace(prefix, namespace)
    meta = _parse(previous) if previous else None
    if meta is None:
        meta = ElementTree.Element(name(META, "xmpmeta"))
    rdf = meta if meta.tag == name(RDF, "RDF") else meta.find(name(RDF, "RDF"))
    if rdf is None:
        rdf = ElementTree.SubElement(meta, name(RDF, "RDF"))
    _remove(rdf, {*properties, *_OUTDATED})
    description = ElementTree.SubElement(rdf, name(RDF, "Description"), {name(RDF, "about"): ""})
    for full_name, text in properties.items():
        ElementTree.SubElement(description, full_name).text = text
    return (_BEGIN + ElementTree.tostring(meta, encoding="unicode") + _END).encode()


def read_properties(packet: bytes) -> dict[str, str]:
    """Reads the simple text properties of a packet: full name -> text.

    They may be elements or attributes; structures and lists are passed over. A packet that cannot
    be read has none.
    """
    meta = _parse(packet)
    found: dict[str, str] = {}
    if meta is None:
        return found
    for description in meta.iter(name(RDF, "Description")):
        found |= {key: value for key, value in description.attrib.items() if key.startswith("{")}
        for child in description:
            resource = child.get(name(RDF, "resource"))
            if resource is not None:
                found[child.tag] = resource
            elif len(child) == 0 and child.text:
                found[child.tag] = child.text.strip()
    found.pop(name(RDF, "about"), None)
    return found


def _parse(packet: bytes) -> ElementTree.Element | None:
    # Entities are what makes a small packet expand to gigabytes; XMP has none.
    if len(packet) > _LARGEST_PACKET or b"<!" in packet.replace(b"<!--", b""):
        return None
    with contextlib.suppress(ElementTree.ParseError, ValueError, LookupError):
        return ElementTree.fromstring(packet.strip(b"\x00 \t\r\n"))
    return None


def _remove(rdf: ElementTree.Element, names: set[str]) -> None:
    for description in rdf.iter(name(RDF, "Description")):
        for full_name in names & set(description.attrib):
            del description.attrib[full_name]
        for child in [child for child in description if child.tag in names]:
            description.remove(child)
