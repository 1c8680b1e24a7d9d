"""The rings of a rollout: few boxes first, more when those do well."""

from __future__ import annotations

import hashlib
import math
import re
from fractions import Fraction

from vedette.runtime.errors import ConfigProblem

_SIZE = re.compile(r"(\d{1,6})(\.\d{1,3})?(%?)")
DEFAULT_MAX_FAILED = "2%"


def read_size(text: str, total: int) -> int:
    """The number of boxes that `5%` or `12` means of `total` boxes; a share of them is at least one.

    Raises:
        ConfigProblem: it is neither a number nor a percentage.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None or (found[2] and not found[3]):
        raise ConfigProblem(f"{text!r} is no number of boxes", hint="write a number, or a percentage such as 5%")
    if not found[3]:
        return min(int(found[1]), total)
    return min(max(math.ceil(Fraction(found[1] + (found[2] or "")) * total / 100), 1), total)


def split_rings(places: list[str], sizes: str, salt: str) -> list[list[str]]:
    """Distributes boxes over rings.

    The order is that of a hash, so that the first ring has boxes of all lines, and other ones in the next rollout.

    Args:
        places: the boxes
        sizes: `5%,25%,100%`: how many boxes have the release after each ring
        salt: decides the order

    Raises:
        ConfigProblem: the sizes do not grow.
    """
    ordered = sorted(places, key=lambda place: hashlib.sha256(f"{salt} {place}".encode()).digest())
    rings, begun = list[list[str]](), 0
    ends = [read_size(each, len(places)) for each in sizes.split(",")]
    if ends != sorted(ends) or not ends[0]:
        raise ConfigProblem(f"--ring {sizes}: the rings do not grow", hint="write them like 5%,25%,100%")
    for end in ends:
        if ordered[begun:end]:
            rings.append(ordered[begun:end])
        begun = max(begun, end)
    return rings


def allowed_failures(limit: str, ring: int) -> int:
    """How many boxes of a ring may fail: 1, or the given share or number if that is more.

    `0` means none.
    """
    if limit.strip() in ("0", "0%"):
        return 0
    found = _SIZE.fullmatch(limit.strip())
    if found is not None and found[3]:
        return max(1, math.floor(Fraction(found[1] + (found[2] or "")) * ring / 100))
    return read_size(limit, ring)
