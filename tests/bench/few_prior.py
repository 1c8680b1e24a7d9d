"""What is typical of other products, for the threshold of few images: fitted to all sets but one, tried on that one.

    make bench-few BENCH_ARGS="--seeds 0,1,2 --out build/few"
    make bench-few-prior BENCH_ARGS=build/few/few.json

For each anomaly model that the product takes of few images, the four numbers of `ExcessPrior` are those under which the
good test images of the other sets are most likely: the mean logarithm of the density, where each set, number of images
and draw counts the same. False alarms and detection are those at the threshold that the numbers give on the set left
out, beside the numbers of the product. The last row of each model has the fit to all sets.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import click
import numpy as np
from image_sets import markdown_table
from scipy.optimize import minimize

from vedette.compress.data import few_images
from vedette.compress.evaluation.few_images_threshold import PRIORS, ExcessPrior

TARGETS = (0.05, 0.01)
LIMITS = {"mean": (-3.0, 5.0), "mean_weight": (-5.0, 4.0), "deviation": (-4.0, 2.0), "deviation_weight": (0.7, 4.6)}
"""Of the four numbers; of all but the mean, of their logarithms."""


def fit_prior(rows: list[dict[str, Any]]) -> ExcessPrior:
    """The numbers under which the good test images of these rows are most likely."""

    def loss(values: Any) -> float:
        prior = make_prior(values)
        likely = [predict(prior, row).logpdf(row["excesses"]["good"]).mean() for row in rows]
        return -float(np.mean(likely))

    start = [1.0, np.log(0.5), np.log(0.3), np.log(5.0)]
    return make_prior(minimize(loss, start, method="Nelder-Mead", bounds=list(LIMITS.values())).x)


def make_prior(values: Any) -> ExcessPrior:
    mean, *logarithms = map(float, values)
    return ExcessPrior(mean, *map(float, np.exp(logarithms)))


def predict(prior: ExcessPrior, row: dict[str, Any]) -> Any:
    return prior.predict(row["images"], np.array(row["excesses"]["cross-validated"]))


def alarms(prior: ExcessPrior, row: dict[str, Any], target: float) -> tuple[float, float]:
    """Share of the good and of the defective test images beyond the threshold."""
    limit = predict(prior, row).isf(target)
    good, defective = ((np.array(row["excesses"][kind]) > limit).mean() for kind in ("good", "defective"))
    return float(good), float(defective)


def mean_by_set(rows: list[dict[str, Any]], priors: dict[str, ExcessPrior], target: float) -> Any:
    """False alarms and detection with the numbers for each set; sets in the order of `priors`, 2."""
    values = [[alarms(prior, row, target) for row in rows if row["set"] == name] for name, prior in priors.items()]
    return np.array([np.mean(each, axis=0) for each in values])


@click.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True))
def few_prior(path: Path) -> None:
    """Fit what is typical of other products to the rows of PATH, a few.json."""
    rows = json.loads(path.read_text())
    table = []
    for detector in ("patchcore", "padim"):
        mine = [row for row in rows if (row["images"] < few_images.MIN_PADIM_IMAGES) == (detector == "patchcore")]
        names = list(dict.fromkeys(row["set"] for row in mine))
        others = {name: fit_prior([row for row in mine if row["set"] != name]) for name in names}
        for name in names:
            click.echo(f"{detector}, without {name}: {others[name]}", err=True)
        choices = {"product": dict.fromkeys(names, PRIORS[detector]), "left out": others}
        fitted = fit_prior(mine)
        click.echo(f"{detector}, all sets: {fitted}")
        choices["all"] = dict.fromkeys(names, fitted)
        counts = sorted({row["images"] for row in mine})
        for (choice, priors), target, count in itertools.product(choices.items(), TARGETS, counts):
            values = mean_by_set([row for row in mine if row["images"] == count], priors, target)
            worst = int(values[:, 0].argmax())
            cells = [float(values[:, 0].mean()), f"{values[worst, 0]:.3f} ({names[worst]})", float(values[:, 1].mean())]
            table.append([detector, choice, f"{target:.0%}", str(count), *cells])
    heads = ["model", "numbers from", "asked", "images", "false alarms", "worst set", "detected"]
    click.echo(markdown_table(heads, table))


if __name__ == "__main__":
    few_prior()
