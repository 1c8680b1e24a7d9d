"""Tables and the figure of `make bench-known`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

DEFAULT = "beyond 1"
OPTIONS = ("linear", DEFAULT, "beyond 1.5", "beyond 2")
MAX_LOSS = 0.01  # AUROC that an option may lose on an unknown kind of any set
EQUIVALENCE_MARGIN = 0.01
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


def curve_figure(found: Found) -> str:
    """The curves as SVG: AUROC by the number of known defects, one line for each set."""
    colors = ("#29528c", "#2f7d5b", "#c2452d", "#d08a1d", "#7a4f9a", "#4a90a4")
    lines = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 520 320" font-family="sans-serif" font-size="12">']
    lines += ['<path d="M50 20V280H380" fill="none" stroke="#5d6b7c"/>']

    def place(count: float, value: float) -> str:
        return f"{50 + 330 * np.log2(1 + count / 5) / np.log2(9):.1f},{280 - 260 * (value - 0.8) / 0.2:.1f}"

    for level in (0.8, 0.85, 0.9, 0.95, 1.0):
        lines.append(f'<text x="44" y="{284 - 260 * (level - 0.8) / 0.2:.0f}" text-anchor="end">{level:.2f}</text>')
    for count in (0, 5, 10, 20, 40):
        lines.append(f'<text x="{place(count, 0.8).split(",")[0]}" y="298" text-anchor="middle">{count}</text>')
    for (name, each), color in zip(found.items(), colors, strict=False):
        rows = [row for row in each["rows"] if not row["unknown"]]
        base = float(np.mean([row["without"] for row in rows]))
        counts = sorted({row["count"] for row in rows})
        values = [base + _gain([row for row in rows if row["count"] == count], DEFAULT, ()) for count in counts]
        points = " ".join(place(*point) for point in zip((0, *counts), (base, *values), strict=True))
        lines.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>')
        height = place(0, values[-1]).split(",")[1]
        x = float(place(counts[-1], 0.8).split(",")[0])
        lines.append(f'<text x="{x + 6:.0f}" y="{float(height) + 4:.0f}" fill="{color}">{name}</text>')
    lines.append('<text x="215" y="314" text-anchor="middle">known defects</text></svg>')
    return "\n".join(lines) + "\n"


def _gain(rows: list[dict[str, Any]], option: str, counts: tuple[int, ...] = (10, 20)) -> float:
    chosen = [row for row in rows if not counts or row["count"] in counts]
    return _weighted(chosen, option) - _weighted(chosen, "without") if chosen else float("nan")


def _weighted(rows: list[dict[str, Any]], key: str) -> float:
    return float(np.average([row[key] for row in rows], weights=[row["tested"] for row in rows]))


def _gain_cell(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "–"
    gains = [row[DEFAULT] - row["without"] for row in rows]
    error = 1.96 * np.std(gains, ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else 0.0
    return f"{_gain(rows, DEFAULT, ()):+.3f} ± {error:.3f}"


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
