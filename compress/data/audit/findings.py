"""What an audit says: findings, each with the measure, its value and the threshold that it passed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

Kind = Literal[
    "unreadable",
    "truncated",
    "empty",
    "duplicate",
    "near_duplicate",
    "label",
    "blur",
    "exposure",
    "framing",
    "size",
    "colour",
    "imbalance",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
UNUSABLE = frozenset({"unreadable", "truncated", "empty"})


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong, or looks so."""

    kind: Kind
    file: Path
    """The image, or for an imbalance the folder of the label that is short of images."""
    label: str
    measure: str
    value: float
    threshold: float
    why: str
    """One sentence."""
    others: tuple[Path, ...] = ()
    """Images that it is about too: of what this one is a copy."""
    breaks: bool = False
    """It breaks a build or falsifies a figure: an unusable image, or one picture under two labels."""


class Audit(msgspec.Struct, frozen=True):
    """What was looked at, and what was found."""

    base: Path
    """Names are given relative to it."""
    images: dict[str, list[Path]]
    """By label."""
    findings: tuple[Finding, ...]
    groups: dict[Path, str]
    """The group of each image; copies and near copies are in one."""
    unchecked: tuple[str, ...] = ()
    """What could not be looked at, and why."""

    @property
    def left_out(self) -> dict[Path, Finding]:
        """Images that no build can use, and pictures that lie under two labels, each with the finding that says so."""
        breaking = [each for each in self.findings if each.breaks]
        found = {path: each for each in breaking for path in each.others} | {each.file: each for each in breaking}
        return dict(sorted(found.items()))

    @property
    def doubtful(self) -> set[Path]:
        """What a cleaned list leaves out: all that a finding names.

        But near copies become one group, and a size or colour that many images have stays.
        """
        formats = [each for each in self.findings if each.kind in ("size", "colour") and each.others]
        named = {each.file for each in self.findings if each.kind != "near_duplicate" and each not in formats}
        return named | set(self.left_out)

    def pairs(self) -> list[tuple[Path, Path]]:
        """Copies and near copies."""
        twins = [each for each in self.findings if each.kind in ("duplicate", "near_duplicate")]
        return [(each.file, other) for each in twins for other in each.others]

    def counts(self, breaking: bool = True) -> dict[str, int]:
        """Findings by kind, in the order of `KINDS`, with those that break a build or without."""
        found = Counter(each.kind for each in self.findings if breaking or not each.breaks)
        return {kind: found[kind] for kind in KINDS if found[kind]}

    def facts(self) -> dict[str, Any]:
        """The same for programs."""
        total = sum(map(len, self.images.values()))
        return {
            "images": total,
            "labels": {label: len(paths) for label, paths in self.images.items()},
            "groups": len(set(self.groups.values())),
            "counts": self.counts(),
            "findings_per_image": len(self.findings) / total,
            "breaks": any(each.breaks for each in self.findings),
            "unchecked": list(self.unchecked),
            "findings": [self.fact(each) for each in self.findings],
        }

    def fact(self, finding: Finding) -> dict[str, Any]:
        """One finding for programs, its paths as names."""
        found = msgspec.structs.asdict(finding)
        numbers = {"value": float(finding.value), "threshold": float(finding.threshold)}
        names = {"file": self.name(finding.file), "others": [self.name(each) for each in finding.others]}
        return found | numbers | names

    def name(self, path: Path) -> str:
        """The path below the base as text that can be printed, whatever bytes are in it."""
        below = path.relative_to(self.base) if path.is_relative_to(self.base) else Path(path.parent.name, path.name)
        return printable(below.as_posix())


def printable(name: str) -> str:
    """The name; bytes in it that are not UTF-8 are written as escapes."""
    return os.fsencode(name).decode(errors="backslashreplace")


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """By kind, the gravest first, and then by file."""
    return tuple(sorted(findings, key=lambda each: (KINDS.index(each.kind), each.file)))
