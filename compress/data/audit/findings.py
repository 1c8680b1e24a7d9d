"""Findings and the audit result. Each finding has a measured value and the threshold for it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
from torch import Tensor

from vedette.runtime.camera import folder_search, image_files

from .labels_from_folders import lies_in_mask_folder

FindingKind = Literal[
    "unreadable",
    "truncated",
    "empty",
    "duplicate",
    "near_duplicate",
    "same_part",
    "label",
    "defect",
    "blur",
    "exposure",
    "framing",
    "size",
    "colour",
    "imbalance",
]
FINDING_KINDS: tuple[FindingKind, ...] = get_args(FindingKind)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A certain or suspected problem of an image."""

    kind: FindingKind
    file: Path
    """The image; for class imbalance, the folder of the label with few images."""
    label: str
    measure: str
    """Name of the measured quantity."""
    value: float
    threshold: float
    why: str
    """The reason, in one sentence."""
    others: tuple[Path, ...] = ()
    """Related images, such as the originals of a duplicate."""
    breaks: bool = False
    """True if it breaks a build or falsifies a metric: an unusable image, or exact duplicates with different labels."""


class AuditResult(msgspec.Struct, frozen=True):
    """The audited images and the findings."""

    base: Path
    """Folder to which file names are relative."""
    images: dict[str, list[Path]]
    """Audited images by label."""
    findings: tuple[Finding, ...]
    groups: dict[Path, str]
    """The group of each image. Exact and near duplicates and pictures of one part are in one group."""
    part_pairs: tuple[tuple[Path, Path], ...] = ()
    """Pairs of pictures of one part that a split keeps together."""
    unchecked: tuple[str, ...] = ()
    """Skipped checks, each with the reason."""
    notes: tuple[str, ...] = ()
    """What a person should know of how the images are read, in sentences."""
    skipped: tuple[Path, ...] = ()
    """Files in the folders that are no images by the end of their names."""
    cells: dict[Path, Tensor] = {}
    """Features of good images by location, C x 14 x 14 in half precision (suspected_defects.py)."""

    @property
    def left_out(self) -> dict[Path, Finding]:
        """Images that a build excludes, each with its finding: unusable, or exact duplicates with different labels."""
        breaking = [each for each in self.findings if each.breaks]
        finding_of = {path: each for each in breaking for path in each.others}
        finding_of |= {each.file: each for each in breaking}
        return dict(sorted(finding_of.items()))

    @property
    def doubtful_images(self) -> set[Path]:
        """Images that the keep list omits: all images with a finding.

        The list keeps near duplicates, and pictures of one part, as one group. It also keeps images with a size or
        color that many images share.
        """
        formats = [each for each in self.findings if each.kind in ("size", "colour") and each.others]
        repeated = [each for each in self.findings if each.kind in ("near_duplicate", "same_part")]
        reported = {each.file for each in self.findings if each not in formats and each not in repeated}
        return reported | set(self.left_out)

    @property
    def suspects(self) -> list[Path]:
        """Good images that look defective, or like another label, or like no other good image."""
        kinds = ("defect", "label")
        return sorted({each.file for each in self.findings if each.kind in kinds and each.file in self.cells})

    def duplicate_pairs(self) -> list[tuple[Path, Path]]:
        """Returns pairs of exact duplicates and of near duplicates."""
        copies = [each for each in self.findings if each.kind in ("duplicate", "near_duplicate")]
        return [(each.file, other) for each in copies for other in each.others]

    def count_by_kind(self, breaking: bool = True) -> dict[str, int]:
        """Returns the number of findings of each kind, in the order of `FINDING_KINDS`.

        Args:
            breaking: whether findings that break a build count too
        """
        counts = Counter(each.kind for each in self.findings if breaking or not each.breaks)
        return {kind: counts[kind] for kind in FINDING_KINDS if counts[kind]}

    def to_dict(self) -> dict[str, Any]:
        """Returns the result as JSON-compatible values, for the option `--json`."""
        total = sum(map(len, self.images.values()))
        return {
            "images": total,
            "labels": {label: len(paths) for label, paths in self.images.items()},
            "groups": len(set(self.groups.values())),
            "counts": self.count_by_kind(),
            "findings_per_image": len(self.findings) / total,
            "breaks": any(each.breaks for each in self.findings),
            "unchecked": list(self.unchecked),
            "notes": list(self.notes),
            "skipped": [self.relative_name(path) for path in self.skipped],
            "findings": [self.finding_to_dict(each) for each in self.findings],
        }

    def with_skipped_files(self, folders: Iterable[Path]) -> AuditResult:
        """The result, with the files below some folders that are no images by the end of their names."""
        files = {path for folder in folders for path in folder_search.find_files(folder)}
        skipped = tuple(
            path for path in image_files.skipped_files(sorted(files)) if not lies_in_mask_folder(path, self.base)
        )
        if not skipped:
            return self
        note = f"skipped: {folder_search.describe_skipped(skipped)}, for example {self.relative_name(skipped[0])}: "
        note += f"images end in {', '.join(sorted(image_files.IMAGE_SUFFIXES))}"
        return msgspec.structs.replace(self, skipped=skipped, notes=(*self.notes, note))

    def finding_to_dict(self, finding: Finding) -> dict[str, Any]:
        """Returns a finding as JSON-compatible values, with file names instead of paths."""
        fields = msgspec.structs.asdict(finding)
        numbers = {"value": float(finding.value), "threshold": float(finding.threshold)}
        names = {
            "file": self.relative_name(finding.file),
            "others": [self.relative_name(each) for each in finding.others],
        }
        return fields | numbers | names

    def relative_name(self, path: Path) -> str:
        """Returns the path relative to the base, as printable text."""
        relative = path.relative_to(self.base) if path.is_relative_to(self.base) else Path(path.parent.name, path.name)
        return printable_name(relative.as_posix())


def printable_name(name: str) -> str:
    """Returns the name with bytes outside UTF-8 escaped."""
    return os.fsencode(name).decode(errors="backslashreplace")


def sort_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sorts findings by kind, the most severe first, then by file."""
    return tuple(sorted(findings, key=lambda each: (FINDING_KINDS.index(each.kind), each.file)))
