"""Thresholds of single areas: what they do to score, map and box, and where areas lie on the map."""

from __future__ import annotations

import numpy as np
import pytest

from vedette.runtime.bundle.manifest import InspectionArea, ModelOutput
from vedette.runtime.inference.area_thresholds import AreaThresholds, locate_areas

LEFT = ((0.0, 0.0), (0.45, 0.0), (0.45, 1.0), (0.0, 1.0))
SCORE = ModelOutput("score", (1,), 0.5, 0)


def make_map(left: float, right: float) -> np.ndarray:
    """A 10 x 10 map with one high cell on the left and one on the right."""
    anomaly_map = np.zeros((10, 10))
    anomaly_map[2, 2], anomaly_map[7, 7] = left, right
    return anomaly_map


@pytest.mark.parametrize(
    ("area", "left", "right", "score", "name"),
    [
        (InspectionArea("label", LEFT, offset=6.0), 20.0, 10.0, 14.0, "label"),  # 20 less the offset
        (InspectionArea("label", LEFT, offset=15.0), 20.0, 10.0, 10.0, None),  # now the right cell is higher
        (InspectionArea("label", LEFT, ignore=True), 20.0, 10.0, 10.0, None),
        (InspectionArea("label", LEFT, offset=-6.0), 8.0, 10.0, 14.0, "label"),  # more sensitive than the rest
        (InspectionArea("label", LEFT, offset=6.0), 0.0, 10.0, 10.0, None),  # nothing there: as without areas
    ],
)
def test_area_moves_the_score_by_its_offset(area, left, right, score, name):
    areas = AreaThresholds((area,), (), SCORE, (10, 10))
    anomaly_map = make_map(left, right)
    adjusted = areas.adjust_map(anomaly_map)
    assert areas.adjust_score(float(anomaly_map.max()), anomaly_map, adjusted) == score
    assert areas.name_of_highest(adjusted) == name


def test_scores_stay_multiples_of_the_step_and_within_the_range_of_the_model():
    areas = AreaThresholds((InspectionArea("label", LEFT, offset=0.7),), (), SCORE, (10, 10))
    anomaly_map = make_map(20.3, 0.0)
    adjusted = areas.adjust_map(anomaly_map)
    assert areas.adjust_score(20.0, anomaly_map, adjusted) == 19.5
    assert areas.adjust_score(0.0, anomaly_map, adjusted) == 0.0
    raised = AreaThresholds((InspectionArea("label", LEFT, offset=-9.0),), (), SCORE, (10, 10))
    assert raised.adjust_score(SCORE.highest, anomaly_map, raised.adjust_map(anomaly_map)) == SCORE.highest


def test_first_of_two_overlapping_areas_counts_and_the_smallest_has_a_cell():
    tiny = ((0.55, 0.55), (0.56, 0.55), (0.56, 0.56))
    found = locate_areas([tiny, LEFT], (), (10, 10))
    assert (found == 0).sum() == 1
    assert (found[:, :4] == 1).all()
    whole = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
    assert (locate_areas([whole, LEFT], (), (10, 10)) == 0).all()


def test_area_lies_where_the_region_shows_it():
    region = ((0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0))
    right_edge = ((0.75, 0.0), (1.0, 0.0), (1.0, 1.0), (0.75, 1.0))
    found = locate_areas([right_edge], region, (8, 8))
    assert (found[:, 5:] == 0).all()
    assert (found[:, :3] == -1).all()
    assert (locate_areas([LEFT], region, (8, 8)) == -1).all()  # nothing of it is in the region
