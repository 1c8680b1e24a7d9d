"""The heat map of a frame lies where the anomaly is, in the unit of the score."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vedette.runtime.bundle.manifest import Inspection
from vedette.runtime.inference.golden_outputs import select_backend
from vedette.runtime.inference.heads import load_head
from vedette.runtime.inference.inspector import WHOLE, Inspector
from vedette.runtime.inference.part_aligner import Placement
from vedette.runtime.inference.pipeline import InferencePipeline
from vedette.runtime.installation.watched_pipeline import WatchedPipeline


def peak(heat_map):
    """Where the highest cell lies, fractions of the frame."""
    row, column = np.unravel_index(np.nanargmax(heat_map), heat_map.shape)
    return (column + 0.5) / heat_map.shape[1], (row + 0.5) / heat_map.shape[0]


def test_map_of_a_defect_is_high_within_its_box(anomaly_bundle, anomaly_build):
    manifest = anomaly_bundle.manifest
    inner = InferencePipeline(anomaly_bundle, select_backend(anomaly_bundle, "onnx", 1), load_head(manifest))
    pipeline = WatchedPipeline(inner, lambda moment, pixels, new: new.predict(moment, pixels))
    assert pipeline.heat_map((120, 120)) is None, "no frame yet"
    for number, path in enumerate(anomaly_build.split.defect[:3]):
        found = pipeline.predict(float(number), cv2.imread(str(path)))[0]
        heat_map = pipeline.heat_map((120, 120))
        assert heat_map.shape == manifest.output("map").shape[-2:]
        assert heat_map.dtype == np.float32
        x, y = peak(heat_map)
        assert found.box.left <= x <= found.box.right
        assert found.box.top <= y <= found.box.bottom
        assert heat_map.max() >= manifest.threshold / 2
    good = pipeline.predict(9.0, cv2.imread(str(anomaly_build.split.threshold[0])))[0]
    assert pipeline.heat_map((120, 120)).max() < heat_map.max()
    assert good.box is None


def test_classifier_has_no_map(class_bundle):
    pipeline = InferencePipeline(
        class_bundle, select_backend(class_bundle, "onnx", 1), load_head(class_bundle.manifest)
    )
    pipeline.predict(0.0, np.zeros((120, 120, 3), np.uint8))
    assert pipeline.heat_map((120, 120)) is None


@pytest.mark.parametrize("turned", [0.0, 30.0])
def test_map_of_a_region_lies_over_the_whole_frame(turned):
    """The highest cell is where `to_frame` puts a box around it, and nothing is told of what the model does not see."""
    region = ((0.25, 0.5), (0.75, 0.5), (0.75, 1.0), (0.25, 1.0))
    inspector, placement = Inspector(Inspection(region=region)), WHOLE
    if turned:
        matrix = cv2.getRotationMatrix2D((0.5, 0.5), turned, 0.8)
        placement = Placement(matrix, 1.0, True)
    cells = np.zeros((14, 14), np.float32)
    cells[3, 10] = 5.0
    shown = inspector.map_to_frame(cells, placement, (64, 48))
    assert shown.shape == (48, 64)
    middle = np.array([0.25 + 0.5 * 10.5 / 14, 0.5 + 0.5 * 3.5 / 14])
    expected = placement.matrix[:, :2] @ middle + placement.matrix[:, 2]
    np.testing.assert_allclose(peak(shown), expected, atol=0.03)
    assert np.isnan(shown[0, 0])
    assert 0.1 < np.isfinite(shown).mean() < 0.3


def test_map_outside_a_polygon_is_unknown():
    inspector = Inspector(Inspection(region=((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))))
    shown = inspector.map_to_frame(np.ones((14, 14), np.float32), WHOLE, (56, 56))
    assert np.isnan(shown[50, 50])
    assert shown[5, 5] == 1.0
