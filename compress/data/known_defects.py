"""Known defects: images of defective parts that a build may use, because no test image resembles them too much.

A figure of the test images is only true for images that the build has not seen. So a known defect is left out if it is
a copy or a near copy of a test image, or in the group of one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from vedette.runtime.errors import ConfigProblem

from .groups import merge_groups


class KnownDefects(NamedTuple):
    """The known defects of a goal, without those that cannot be used at all."""

    used: list[Path]
    left_out: list[Path]
    """Copies of test images, and images in a group of one."""


def separate_known_defects(
    known: Collection[Path],
    tested: Iterable[Path],
    groups: Mapping[Path, str],
    duplicates: Iterable[tuple[Path, Path]],
) -> KnownDefects:
    """Divides known defects into those that a build may use and those that it leaves out.

    Args:
        known: the usable images of known defects
        tested: all test images, good and defective
        groups: group of each image of the goal
        duplicates: pairs of exact and of near duplicates

    Raises:
        ConfigProblem: no known defect remains.
    """
    merged = merge_groups(groups, duplicates)
    tested_groups = {merged[path] for path in tested}
    used = [path for path in known if merged[path] not in tested_groups]
    if known and not used:
        hint = "give each part either to data.known or to the test images, not to both"
        raise ConfigProblem(
            f"data.known: each of the {len(known)} known defects is a copy of a test image or in the group of one",
            hint=hint,
        )
    return KnownDefects(used, [path for path in known if merged[path] in tested_groups])
