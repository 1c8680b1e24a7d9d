"""Tables and curves of `make bench-known`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

DEFAULT = "beyond 1"
OPTIONS = ("linear", DEFAULT, "beyond 1.5", "beyond 2")
MAX_LOSS = 0.01  # AUROC that an option may lose on an unknown kind of any set
EQUIVALENCE_MARGIN = 0.01
COUNTS = (0, 5, 10, 20, 40)
WEIGHTS = (0.0, 5.0, 10.0, 20.0, 40.0, float("inf"))  # of the synthetic defects, in known ones
Found = dict[str, Any]


def curve_table(found: Found) -> str:
    """AUROC by the number of known defects, with the range of its gain over folds and draws."""
    counts = sorted({row["count"] for each in found.values() for row in each["rows"]})
    text = (
        "## AUROC with known defects\n\n| set | 0 | "
        + " | ".join(map(str, counts))
        + " | unknown kinds, 0 | 10 | 20 |\n"
    )
    text += "|" + " --- |" * (len(counts) + 5) + "\n"
    for name, each in found.items():
        rows = [row for row in each["rows"] if not row["unknown"]]
        cells = [f"{np.mean([row['without'] for row in rows]):.3f}"]
        cells += [_gain_cell([row for row in rows if row["count"] == count]) for count in counts]
        others = [row for row in each["rows"] if row["unknown"]]
        cells += [f"{_weighted(others, 'without'):.3f}" if others else "–"]
        cells += [_gain_cell([row for row in others if row["count"] == count]) for count in (10, 20)]
        text += f"| {name} | " + " | ".join(cells) + " |\n"
    return text + "\n"


def option_table(found: Found) -> str:
    """Gain of each option on known and on unknown kinds, and the option that the other sets would choose."""
    names = list(found)
    options = OPTIONS
    gains = {
        (name, option, unknown): _gain([row for row in found[name]["rows"] if bool(row["unknown"]) == unknown], option)
        for name in names
        for option in options
        for unknown in (False, True)
    }

    def utility(option: str, among: Iterable[str]) -> float:
        values = [(gains[name, option, False], gains[name, option, True]) for name in among]
        if min((unknown for _, unknown in values if not np.isnan(unknown)), default=0.0) < -MAX_LOSS:
            return -1.0
        return float(np.nanmean(values))

    text = "## The form of the head\n\n| set | " + " | ".join(options) + " | chosen on the others |\n"
    text += "|" + " --- |" * (len(options) + 2) + "\n"
    for name in names:
        others = [other for other in names if other != name]
        chosen = max(options, key=lambda option: utility(option, others)) if others else "–"
        cells = [f"{gains[name, option, False]:+.3f}, {gains[name, option, True]:+.3f}" for option in options]
        text += f"| {name} | " + " | ".join(cells) + f" | {chosen} |\n"
    means = [
        ", ".join(f"{np.nanmean([gains[name, option, unknown] for name in names]):+.3f}" for unknown in (False, True))
        for option in options
    ]
    return text + "| mean | " + " | ".join(means) + " | |\n\n"


def design_table(found: Found) -> str:
    """Mean regret of the chosen design by number of known defects and weight of the synthetic ones."""
    titles = ["known only", *(f"{weight:g}" for weight in WEIGHTS[1:-1]), "synthetic only"]
    text = "## The choice of the design\n\n| set | known | " + " | ".join(titles) + " |\n"
    text += "|" + " --- |" * (len(titles) + 2) + "\n"
    by_weight: dict[float, list[float]] = {weight: [] for weight in WEIGHTS}
    for name, each in found.items():
        for count in sorted({row["count"] for row in each["designs"]}):
            rows = [row for row in each["designs"] if row["count"] == count]
            regrets = {weight: _regret(rows, count, weight) for weight in WEIGHTS}
            for weight, regret in regrets.items():
                by_weight[weight].append(regret)
            text += f"| {name} | {count} | " + " | ".join(f"{regret:.3f}" for regret in regrets.values()) + " |\n"
    cells = [f"{np.mean(values):.4f}" if values else "–" for values in by_weight.values()]
    worst = [f"{max(values):.3f}" if values else "–" for values in by_weight.values()]
    return text + "| mean | | " + " | ".join(cells) + " |\n| worst | | " + " | ".join(worst) + " |\n\n"


def curve_values(rows: list[dict[str, Any]]) -> tuple[list[float], list[float]]:
    """AUROC of one set by the number of known defects (COUNTS), and 1.96 standard errors of its gain."""
    known = [row for row in rows if not row["unknown"]]
    base = float(np.mean([row["without"] for row in known]))
    values, errors = [base], [0.0]
    for count in COUNTS[1:]:
        drawn = [row for row in known if row["count"] == count]
        gains = [row[DEFAULT] - row["without"] for row in drawn]
        values.append(base + _gain(drawn, DEFAULT, ()))
        errors.append(_error(gains) if gains else float("nan"))
    return values, errors


def _gain(rows: list[dict[str, Any]], option: str, counts: tuple[int, ...] = (10, 20)) -> float:
    chosen = [row for row in rows if not counts or row["count"] in counts]
    return _weighted(chosen, option) - _weighted(chosen, "without") if chosen else float("nan")


def _weighted(rows: list[dict[str, Any]], key: str) -> float:
    return float(np.average([row[key] for row in rows], weights=[row["tested"] for row in rows]))


def _gain_cell(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "–"
    gains = [row[DEFAULT] - row["without"] for row in rows]
    return f"{_gain(rows, DEFAULT, ()):+.3f} ± {_error(gains):.3f}"


def _error(gains: list[float]) -> float:
    """1.96 standard errors of the mean."""
    return float(1.96 * np.std(gains, ddof=1) / np.sqrt(len(gains))) if len(gains) > 1 else 0.0


def _regret(rows: list[dict[str, Any]], count: int, weight: float) -> float:
    """Mean over the draws: AUROC on other defects of the best design, less that of the chosen one."""
    share = 0.0 if weight == float("inf") else count / (count + weight)
    regrets = []
    for draw in sorted({row["draw"] for row in rows}):
        drawn = [row for row in rows if row["draw"] == draw]
        utilities = [share * row["known"] + (1 - share) * row["synthetic"] for row in drawn]
        near = [row for row, each in zip(drawn, utilities, strict=True) if each >= max(utilities) - EQUIVALENCE_MARGIN]
        chosen = min(near, key=lambda row: row["cost"])
        regrets.append(max(row["other"] for row in drawn) - chosen["other"])
    return float(np.mean(regrets))
