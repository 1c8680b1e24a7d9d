"""What a review finds: each finding with its severity, the evidence for it, and its remedy."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Severity = Literal["info", "low", "medium", "high"]
SEVERITIES: tuple[Severity, ...] = ("info", "low", "medium", "high")
"""Ascending. `info`: a fact, or a check that could not be made. `low`: known limits of such models. `medium`: a person
should decide before the bundle is used. `high`: do not use the bundle."""


class Finding(msgspec.Struct, frozen=True):
    """One finding."""

    severity: Severity
    check: str
    """Which check found it, for example `graph` or `robustness`."""
    what: str
    """One sentence."""
    evidence: str
    """The numbers or names behind it."""
    remedy: str
    """What to do; for `info` often nothing."""


class RobustnessRow(msgspec.Struct, frozen=True, kw_only=True):
    """Float and int8 under one corruption; rates are those at the bundle's threshold."""

    corruption: str
    """`clean`, or a key of `corruptions.CORRUPTIONS`."""
    strength: int
    """1 to 3; 0 for `clean`."""
    setting: str
    """What the strength means, for example `sigma 20`."""
    metric_float: float | None
    """AUROC, accuracy or mAP50; None: there is no float model, or the images do not show it."""
    metric_int8: float | None
    false_alarms_float: int | None
    false_alarms_int8: int
    of_float: int | None
    """What `false_alarms_float` counts of: good images, or answers."""
    of_int8: int


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a review."""

    bundle: str
    """Model id."""
    findings: tuple[Finding, ...]
    """The most severe first."""
    metric: str = ""
    """Title of the metric of `robustness`."""
    false_alarm: str = ""
    """What counts as a false alarm."""
    robustness: tuple[RobustnessRow, ...] = ()
    """Empty: there were no images to measure with."""
    images: int = 0
    """Number of images that the review ran the models on."""
    seconds: float = 0.0

    @property
    def severity(self) -> Severity:
        """Of the most severe finding."""
        return max((each.severity for each in self.findings), key=SEVERITIES.index, default="info")

    @property
    def worst_shift(self) -> tuple[RobustnessRow, RobustnessRow] | None:
        """The clean row, and the row whose false-alarm rate rises most above it (int8); None: nothing was counted."""
        clean = next((row for row in self.robustness if row.corruption == "clean"), None)
        others = [row for row in self.robustness if row.corruption != "clean" and row.of_int8]
        if clean is None or not clean.of_int8 or not others:
            return None
        return clean, max(others, key=lambda row: row.false_alarms_int8 / row.of_int8)

    @property
    def false_alarm_shift(self) -> float | None:
        """Largest rise of the false-alarm rate of int8 over that of clean images."""
        if self.worst_shift is None:
            return None
        clean, worst = self.worst_shift
        return worst.false_alarms_int8 / worst.of_int8 - clean.false_alarms_int8 / clean.of_int8

    def to_json(self) -> dict[str, Any]:
        """The fields, for `--json` and report.json."""
        return {
            "severity": self.severity,
            "false_alarm_shift": self.false_alarm_shift,
            **msgspec.to_builtins(self),
        }


def sort_findings(findings: list[Finding]) -> tuple[Finding, ...]:
    """The most severe first; of equal severity, in the order of the checks."""
    return tuple(sorted(findings, key=lambda each: -SEVERITIES.index(each.severity)))
