"""Where weights, data and tools come from: licences, and digests in the bill of materials."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from .finding import Finding
from .subject import Subject

NOT_STATED = "not stated"
BILL = "bom.cdx.json"
"""Member of a bundle: its bill of materials (compress/export/bill_of_materials.py)."""
_NON_COMMERCIAL = re.compile(r"\bNC\b|non-?commercial|research only", re.IGNORECASE)
_COPYLEFT = re.compile(r"\bA?GPL", re.IGNORECASE)


def check_provenance(subject: Subject) -> Iterator[Finding]:
    """Findings about licences and digests."""
    manifest = subject.manifest
    for kind, sources in (("weights", manifest.weights), ("data", manifest.data)):
        key = "model.licence" if kind == "weights" else "data.licence"
        for source in sources:
            if source.licence in ("", NOT_STATED):
                yield Finding(
                    "low", "licences", f"nobody stated the licence of the {kind}", source.name, f"state it as {key}"
                )
            elif _NON_COMMERCIAL.search(source.licence):
                yield Finding(
                    "low",
                    "licences",
                    f"the licence of the {kind} forbids commercial use",
                    f"{source.name}: {source.licence}",
                    "sell nothing that was made from them, or ask for another licence",
                )
            elif _COPYLEFT.search(source.licence):
                yield Finding(
                    "low",
                    "licences",
                    f"the licence of the {kind} may oblige you to hand on sources",
                    f"{source.name}: {source.licence}",
                    "ask someone who knows licences before you hand the bundle on",
                )
    bill = subject.members.get(BILL)
    if bill is None:
        yield Finding(
            "info",
            "provenance",
            "the bundle has no bill of materials: weights and tools are named by version, not by digest",
            ", ".join(f"{name} {version}" for name, version in manifest.tools.items()),
            "build it again with this version of vedette",
        )
        return
    try:
        components = msgspec.json.decode(bill)["components"]
        bare = [each["name"] for each in components if not each.get("hashes")]
    except (msgspec.DecodeError, KeyError, TypeError):
        yield Finding("medium", "provenance", "the bill of materials cannot be read", BILL, "build the bundle again")
        return
    yield Finding(
        "info",
        "provenance",
        f"{len(components) - len(bare)} of {len(components)} weights, files and tools have a digest",
        f"without: {', '.join(bare)}" if bare else BILL,
        "nothing",
    )
