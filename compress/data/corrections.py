"""Corrections from the place where a model runs: what people said of its events (`[data] corrections`).

`vedette feedback pull` writes the folder. Each camera's days take turns: one in ASIDE_EVERY is kept aside, the others
teach. So pictures of one day, which resemble each other, never straddle the two.

    taught        false alarms join the images of the part fit; right and missed alarms join the known defects
    kept aside    false alarms and defects on which releases are compared; no fit and no threshold sees them

False alarms are not a sample of good parts: they are those with the highest scores. So none joins the threshold part,
whose guarantee needs a fair sample, nor the test images, whose false-alarm rate does.

A picture is left out if it shows a part of the frame only, cannot be read, or is a near copy of a held-out image.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from vedette.deploy.feedback.corrections_folder import TABLE, Correction, read_table
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.progress import Log

from ..goal.goal_tables import DataSettings
from .audit.embedding import INPUT_SIZE
from .audit.findings import Finding
from .audit.image_checks import check_image
from .audit.near_duplicates import find_duplicates
from .split import Split

ASIDE_EVERY, FIRST_ASIDE = 4, 1  # of each camera's days: the second, the sixth, the tenth, ...
GOOD_LABELS = ("good", "normal", "ok")
KEPT_PURPOSES = ("corrections_good", "corrections_defective")
"""Fields of `CorrectedSplit` with what is kept aside."""


class CorrectedSplit(Split, frozen=True, kw_only=True):
    """A split with corrections: those that teach are in `fit` and `known`."""

    corrections_good: list[Path]
    """False alarms that are kept aside."""
    corrections_defective: list[Path]
    """Right and missed alarms that are kept aside."""
    correction_groups: dict[Path, str]
    """Correction -> its camera and day."""


def is_kept_aside(index: int) -> bool:
    """Whether the camera's day with this index, from 0 for the earliest, is kept aside."""
    return index % ASIDE_EVERY == FIRST_ASIDE


def shows_good_part(correction: Correction) -> bool:
    """Whether a person said that the picture shows a good part."""
    return correction.verdict == "false_alarm" or (
        correction.verdict == "label" and correction.label.lower() in GOOD_LABELS
    )


def join_corrections(split: Split, data: DataSettings, base: Path, log: Log) -> Split:
    """The split with the corrections that `data` names; the same split if it names none.

    The other images stay in their parts, so that releases with more and more corrections have the same test images.

    Args:
        split: of the other images
        data: the table `[data]` of the goal
        base: folder of the goal file
        log: receives one line per finding

    Raises:
        ConfigProblem: the table of the corrections is missing, or cannot be read.
    """
    if data.corrections is None:
        return split
    folder = base / data.corrections
    if not (folder / TABLE).is_file():
        hint = "vedette feedback pull ... --out FOLDER writes it"
        raise ConfigProblem(f"data.corrections: no {TABLE} in {folder}", hint=hint)
    rows = {folder / row.file: row for row in read_table(folder)}
    left_out = {path: "shows a part of the frame only" for path, row in rows.items() if row.whole != "yes"}
    candidates = [path for path in rows if path not in left_out]
    unusable, copies = _check_pictures(candidates, [*split.threshold, *split.test, *split.defect])
    left_out |= unusable
    aside = _groups_kept_aside(row for path, row in rows.items() if path not in left_out)
    kept = {path for path, row in rows.items() if path not in left_out and row.group in aside}
    left_out |= {
        path: "is a near copy of a picture of another day"
        for pair in copies
        for path, other in (pair, pair[::-1])
        if path in kept and other in rows and other not in kept and other not in left_out
    }
    for path, reason in left_out.items():
        log(f"left out: {data.corrections}/{rows[path].file}: it {reason}")
    good, defective = (
        [path for path, row in rows.items() if path not in left_out and shows_good_part(row) is is_good]
        for is_good in (True, False)
    )
    groups = {path: row.group for path, row in rows.items()}
    return _join(split, good, defective, kept, groups, left_out, log)


def _check_pictures(paths: Sequence[Path], held_out: Sequence[Path]) -> tuple[dict[Path, str], list[tuple[Path, Path]]]:
    """Why pictures cannot be used, and pairs of near copies among the others.

    Args:
        paths: the corrections
        held_out: images that no fit may see
    """
    checked = [check_image(path, "", INPUT_SIZE) for path in (*held_out, *paths)] if paths else []
    unusable = {each.file: f"cannot be used: {each.why}" for each in checked if isinstance(each, Finding)}
    found = find_duplicates([each for each in checked if not isinstance(each, Finding)])
    pairs = [(finding.file, other) for finding in found for other in finding.others]
    own, others = set(paths), set(held_out)
    copies = {
        path: "is a near copy of a held-out image"
        for pair in pairs
        for path, other in (pair, pair[::-1])
        if path in own and other in others
    }
    return {path: why for path, why in unusable.items() if path in own} | copies, pairs


def _groups_kept_aside(rows: Iterable[Correction]) -> set[str]:
    """Camera and day of the corrections that are kept aside."""
    days: dict[str, set[str]] = {}
    for row in rows:
        days.setdefault(row.camera, set()).add(row.group)
    return {group for each in days.values() for index, group in enumerate(sorted(each)) if is_kept_aside(index)}


def _join(
    split: Split,
    good: list[Path],
    defective: list[Path],
    kept: set[Path],
    groups: dict[Path, str],
    left_out: dict[Path, str],
    log: Log,
) -> CorrectedSplit:
    taught_good, taught_defective = ([path for path in each if path not in kept] for each in (good, defective))
    kept_good, kept_defective = ([path for path in each if path in kept] for each in (good, defective))
    summary = {
        "false_alarms": len(taught_good),
        "defects": len(taught_defective),
        "kept_aside": {"false_alarms": len(kept_good), "defects": len(kept_defective)},
        "left_out": {f"{path.parent.name}/{path.name}": reason for path, reason in left_out.items()},
    }
    log(
        f"corrections: {len(taught_good)} false alarms join the good images, {len(taught_defective)} defects the known "
        f"ones; kept aside to compare releases: {len(kept_good)} and {len(kept_defective)}"
    )
    fields = {name: getattr(split, name) for name in split.__struct_fields__}
    if split.few:  # all good images are in all three parts
        fields |= {part: sorted([*fields[part], *taught_good]) for part in ("fit", "calibrate", "threshold")}
    else:
        fields |= {"fit": [*split.fit, *taught_good], "known": [*split.known, *taught_defective]}
    fields |= {
        "groups": split.groups | {path: groups[path] for path in good},
        "audit": split.audit | {"corrections": summary},
    }
    return CorrectedSplit(
        **fields,
        corrections_good=kept_good,
        corrections_defective=kept_defective,
        correction_groups={path: groups[path] for path in (*good, *defective)},
    )
