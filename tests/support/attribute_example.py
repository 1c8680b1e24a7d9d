"""The worked example of an attribute study: 50 parts, 3 appraisers, 3 trials.

Source: AIAG, "Measurement Systems Analysis", 4th edition, 2010, table III-C 1. 1 is an accepted part. Parts about which
all nine decisions are right are named in two lists, the others have their decisions.
"""

from __future__ import annotations

import csv
from pathlib import Path

REJECTED = (3, 4, 5, 9, 25, 37, 39, 42, 45, 48, 50)
"""Bad parts that everybody rejects."""
MIXED = {
    # part: (trials of A, of B, of C, reference)
    6: ("110", "110", "100", 1),
    7: ("111", "111", "101", 1),
    12: ("000", "000", "010", 0),
    14: ("110", "111", "100", 1),
    21: ("110", "101", "010", 1),
    22: ("001", "010", "110", 0),
    26: ("010", "000", "001", 0),
    30: ("000", "001", "000", 0),
    34: ("001", "001", "011", 0),
    36: ("110", "111", "101", 1),
    43: ("101", "111", "110", 1),
}


def list_rows() -> list[tuple[str, str, str, str, str]]:
    """Part, reference, appraiser, trial, decision of each of the 450 decisions."""
    rows = []
    for part in range(1, 51):
        *trials, reference = MIXED.get(part) or (("000",) * 3 + (0,) if part in REJECTED else ("111",) * 3 + (1,))
        for appraiser, decisions in zip("ABC", trials, strict=True):
            for trial, decision in enumerate(str(decisions), 1):
                rows.append((str(part), str(reference), appraiser, str(trial), decision))
    return rows


def write_csv(path: Path) -> Path:
    """Writes the example as `vedette study` reads it."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("part", "reference", "appraiser", "trial", "decision"))
        writer.writerows(list_rows())
    return path
