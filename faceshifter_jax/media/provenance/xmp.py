"""XMP packets (ISO 16684-1): simple text properties written into one and read from one."""

import contextlib
from collections.abc import Collection, Iterable, Mapping
from xml.etree import ElementTree

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
META = "adobe:ns:meta/"
OWN = "urn:faceshifter-jax:provenance:1/"
IPTC_EXTENSION = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
XMP_BASIC = "http://ns.adobe.com/xap/1.0/"
DC = "http://purl.org/dc/elements/1.1/"
TIFF = "http://ns.adobe.com/tiff/1.0/"
EXIF = "http://ns.adobe.com/exif/1.0/"

_PREFIXES = {
    "faceshifter": OWN,
    "rdf": RDF,
    "x": META,
    "Iptc4xmpExt": IPTC_EXTENSION,
    "xmp": XMP_BASIC,
    "tiff": TIFF,
    "exif": EXIF,
    "exifEX": "http://cipa.jp/exif/1.0/",
    "aux": "http://ns.adobe.com/exif/1.0/aux/",
    "Iptc4xmpCore": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
    "plus": "http://ns.useplus.org/ldf/xmp/1.0/",
    "cc": "http://creativecommons.org/ns#",
    "dc": DC,
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
    "xmpMM": "http://ns.adobe.com/xap/1.0/mm/",
}
_BEGIN = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
_END = '\n<?xpacket end="w"?>'
# What says who made a picture, when, where, with what, and what may be done with it. Others say
# where in the old file a gain map, a depth map or a film lies, or where whose face is.
_KEPT = frozenset(
    namespace for prefix, namespace in _PREFIXES.items() if prefix not in ("rdf", "x")
)
# They were true of the stored picture: its rotation is applied, its preview shows the old face.
_OUTDATED = frozenset(
    {
        f"{{{TIFF}}}Orientation",
        f"{{{TIFF}}}ImageWidth",
        f"{{{TIFF}}}ImageLength",
        f"{{{EXIF}}}PixelXDimension",
        f"{{{EXIF}}}PixelYDimension",
        f"{{{XMP_BASIC}}}Thumbnails",
        f"{{{IPTC_EXTENSION}}}PersonInImage",
        f"{{{IPTC_EXTENSION}}}PersonInImageWDetails",
        f"{{{IPTC_EXTENSION}}}ImageRegion",
    }
)
# Local names of what holds a person's name, in whatever namespace.
_NAMES_OF_PEOPLE = ("Name", "PersonInImage", "PersonName", "PersonDisplayName")
_LARGEST_PACKET = 16 * 2**20
_DEEPEST = 100


def name(namespace: str, property_name: str) -> str:
    """Returns a property's full name, "{namespace}property"."""
    return f"{{{namespace}}}{property_name}"


def build_packet(
    properties: Mapping[str, str],
    previous: bytes | None = None,
    *,
    replaced: Iterable[str] = (),
) -> bytes:
    """Builds a packet with simple properties.

    Args:
      properties: full name -> text.
      previous: a packet of which is kept what `keep_true` keeps, if it can be read, and not what
        it says of the same properties.
      replaced: full names of other properties of which it is not kept, either.

    Returns:
      the packet, UTF-8.
    """
    meta = _parse(previous) if previous else None
    if meta is None:
        meta = ElementTree.Element(name(META, "xmpmeta"))
    rdf = _find_rdf(meta)
    if rdf is None:
        rdf = ElementTree.SubElement(meta, name(RDF, "RDF"))
    _remove(rdf, {*properties, *replaced})
    description = ElementTree.SubElement(rdf, name(RDF, "Description"), {name(RDF, "about"): ""})
    for full_name, text in properties.items():
        ElementTree.SubElement(description, full_name).text = text
    return _write(meta)


def keep_true(packet: bytes) -> bytes | None:
    """Returns what stays true of a picture in which a face was swapped.

    Kept are properties of the namespaces for authors, rights, descriptions, time, place and
    camera. Not kept: rotation and size of the stored picture, thumbnails, names and places of
    people, also as keywords, and all other namespaces, such as those of gain maps, depth maps
    and films within the file.

    Returns:
      a packet; None where nothing is left or it cannot be read.
    """
    meta = _parse(packet)
    rdf = None if meta is None else _find_rdf(meta)
    if meta is None or rdf is None:
        return None
    _remove(rdf, ())
    about = name(RDF, "about")
    says = any(len(node) or set(node.attrib) - {about} for node in rdf)
    return _write(meta) if says else None


def namespaces(packet: bytes) -> frozenset[str]:
    """Returns the namespaces of all elements and attributes of a packet, none if it is not XML."""
    meta = _parse(packet)
    if meta is None:
        return frozenset()
    names = (key for node in meta.iter() for key in (node.tag, *node.keys()))
    return frozenset(key[1:].partition("}")[0] for key in names if key.startswith("{"))


def _write(meta: ElementTree.Element) -> bytes:
    for prefix, namespace in _PREFIXES.items():
        ElementTree.register_namespace(prefix, namespace)
    text = ElementTree.tostring(meta, encoding="unicode")
    return (_BEGIN + text + _END).encode("utf-8", "replace")


def _find_rdf(meta: ElementTree.Element) -> ElementTree.Element | None:
    return meta if meta.tag == name(RDF, "RDF") else meta.find(name(RDF, "RDF"))


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
        meta = ElementTree.fromstring(packet.strip(b"\x00 \t\r\n"))
        return None if _is_deep(meta) else meta
    return None


def _is_deep(meta: ElementTree.Element) -> bool:
    """Whether writing it, which goes down by recursion, might end at Python's limit."""
    level = [meta]
    for _ in range(_DEEPEST):
        level = [child for node in level for child in node]
    return bool(level)


def _remove(rdf: ElementTree.Element, properties: Iterable[str]) -> None:
    """Removes properties, and what is not true of a swapped picture."""
    names = _OUTDATED | set(properties)
    people: set[str] = set()
    for node in rdf:
        for key in [key for key in node.attrib if _goes(key, names)]:
            if _local(key) in _NAMES_OF_PEOPLE:
                people.add(node.attrib[key].strip())
            del node.attrib[key]
        for child in [child for child in node if _goes(child.tag, names)]:
            if child.tag not in properties:
                people |= _people_in(child)
            node.remove(child)
    people.discard("")
    for bag in list(rdf.iter()):
        for entry in [e for e in bag if e.tag == name(RDF, "li") and _says(e) in people]:
            bag.remove(entry)


def _goes(full_name: str, names: Collection[str]) -> bool:
    namespace = full_name[1:].partition("}")[0] if full_name.startswith("{") else ""
    of_xml = namespace in (RDF, "http://www.w3.org/XML/1998/namespace")
    return full_name in names or not (of_xml or namespace in _KEPT)


def _people_in(removed: ElementTree.Element) -> set[str]:
    """The names that a property held which goes."""
    found: set[str] = set()
    for node in removed.iter():
        found |= {text.strip() for key, text in node.items() if _local(key) in _NAMES_OF_PEOPLE}
        if _local(node.tag) in _NAMES_OF_PEOPLE:
            found |= {_says(entry) for entry in node.iter()}
    return found


def _says(node: ElementTree.Element) -> str:
    return (node.text or "").strip()


def _local(full_name: str) -> str:
    return full_name.rpartition("}")[2]
