"""Rules by which a detector is chosen from trials, their regret on each set, and the tables of `choice.py`."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from vedette.compress.models.design import MIN_PADIM_IMAGES, Design

DESIGNS = {
    "PaDiM 4, 10": Design("padim", (4, 10)),
    "PaDiM 4, 10, 14": Design("padim", (4, 10, 14)),
    "PatchCore": Design("patchcore", (4, 10)),
    "discriminative": Design("discriminative", (4, 10)),
}
TRIED = tuple(DESIGNS)[:3]
ORDER = ("PaDiM 4, 10", "PatchCore", "PaDiM 4, 10, 14")  # the cheapest first, counted for a Cortex-A76
SHARES = (1.0, 0.75, 0.5, 0.25)
MARGINS = (0.0, 0.01, 0.02)
TODAY = ("product", 1.0, 0.01)
Rule = tuple[str, float, float]


class Variant(NamedTuple):
    """What was measured of one set with one nuisance."""

    images: int
    """Good images that the trials had, in the mean."""
    real: dict[str, list[float]]
    """AUROC of each design on the real defects, by tested fold."""
    trials: dict[str, dict[str, list[float]]]
    """AUROC of each design on drawn defects, by "kinds|share" and tested fold."""


def rule_regrets(variant: Variant, rule: Rule, few_images: bool = True) -> float:
    """The regret of a rule on one variant, the mean of the tested folds."""
    kinds, share, margin = rule
    means = {label: float(np.mean(variant.real[label])) for label in TRIED}
    few = few_images and variant.images < MIN_PADIM_IMAGES
    candidates = [label for label in TRIED if not few or DESIGNS[label].anomaly_model != "padim"]
    taken = []
    for fold in range(len(variant.real[TRIED[0]])):
        figures = {label: variant.trials[f"{kinds}|{share}"][label][fold] for label in candidates}
        needed = max(figures.values()) - margin
        chosen = next(label for label in ORDER if figures.get(label, -1.0) >= needed)
        taken.append(variant.real[chosen][fold])
    return max(means.values()) - float(np.mean(taken))


def tables(variants: dict[str, Variant]) -> str:
    """The tables as Markdown: the AUROCs and regrets of each variant, and the mean and worst regret of each rule."""
    rules: list[Rule] = list(itertools.product(("product", "structural", "both"), SHARES, MARGINS))
    regrets = {rule: {name: rule_regrets(variant, rule) for name, variant in variants.items()} for rule in rules}
    lines = [
        "| set | " + " | ".join(TRIED) + " | regret today | rule that the other sets choose | its regret |",
        "|" + " --- |" * (len(TRIED) + 4),
    ]
    left_out: list[float] = []
    for name, variant in variants.items():
        others = [other for other in variants if other.split(", ")[0] != name.split(", ")[0]]
        best = min(rules, key=lambda rule: np.mean([regrets[rule][other] for other in others]) if others else 0.0)
        left_out.append(regrets[best][name])
        figures = " | ".join(f"{np.mean(variant.real[label]):.3f}" for label in TRIED)
        lines.append(f"| {name} | {figures} | {regrets[TODAY][name]:.3f} | {_words(best)} | {left_out[-1]:.3f} |")
    today = list(regrets[TODAY].values())
    means = " | ".join(f"{np.mean([np.mean(each.real[label]) for each in variants.values()]):.3f}" for label in TRIED)
    lines.append(f"| mean | {means} | {np.mean(today):.4f} | | {np.mean(left_out):.4f} |")
    lines.append(f"| worst | | | | {max(today):.3f} | | {max(left_out):.3f} |")
    lines += ["", "| rule | mean regret | worst regret |", "| --- | --- | --- |"]
    rows = {_words(rule): list(each.values()) for rule, each in regrets.items()}
    rows["today's, PaDiM for few images too"] = [
        rule_regrets(each, TODAY, few_images=False) for each in variants.values()
    ]
    for label in TRIED:
        rows[f"always {label}"] = [
            float(max(np.mean(each.real[other]) for other in TRIED) - np.mean(each.real[label]))
            for each in variants.values()
        ]
    lines += [f"| {words} | {np.mean(each):.4f} | {max(each):.3f} |" for words, each in rows.items()]
    lines += ["", "| set | best tried | discriminative |", "| --- | --- | --- |"]
    for name, variant in variants.items():
        if "discriminative" in variant.real:
            highest = max(np.mean(variant.real[label]) for label in TRIED)
            lines.append(f"| {name} | {highest:.3f} | {np.mean(variant.real['discriminative']):.3f} |")
    return "\n".join(lines) + "\n"


def _mean(values: list[float]) -> float:
    return float(np.mean(values))


def _words(rule: Rule) -> str:
    kinds, share, margin = rule
    return f"{kinds} kinds, {'all' if share == 1 else f'{share:.0%} found best'}, margin {margin}"
