"""The chart of the designs: its axis has numbers, however alike the designs cost."""

from __future__ import annotations

import pytest

from vedette.compress.cost.cost_limits import CostLimits
from vedette.compress.models.design import Design
from vedette.compress.report.pareto_chart import LEFT, RIGHT, design_chart
from vedette.compress.search.selection import Trial


@pytest.mark.parametrize(
    ("costs", "texts"),
    [((252.04e6, 298.5e6), ["252", "298.5"]), ((252e6, 252e6), ["252"]), ((9e6, 120e6), ["10", "20", "50", "100"])],
)
def test_the_axis_of_costs_has_numbers(costs, texts):
    trials = [Trial(Design("padim", (4,)), 0, cost, 1000, auroc) for cost, auroc in zip(costs, (0.9, 0.8), strict=True)]
    chart = design_chart(trials, [], trials[0], CostLimits(), "multiplications")
    assert chart is not None
    assert [tick["text"] for tick in chart["ticks"]] == texts
    assert all(LEFT <= tick["x"] <= RIGHT for tick in chart["ticks"])
