"""Alignment and region: the part is found wherever it lies, and the model sees it where the reference shows it."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from bracket import HEIGHT, WIDTH, draw_bracket

from vedette.runtime.bundle.manifest import Alignment, Inspection
from vedette.runtime.inference.affine_transforms import measure_motion
from vedette.runtime.inference.inspector import OUTSIDE_GRAY, Inspector
from vedette.runtime.inference.part_aligner import PartAligner
from vedette.runtime.inference.prediction import Box

SIMILARITY = Alignment("similarity", "reference.png", shift=0.3, angle=25, scale=0.2, correlation=0.6)
FULL_TURN = Alignment("rigid", "reference.png", shift=0.2, angle=180, scale=0, correlation=0.4)


def aligned_difference(aligner_settings: Alignment, image: Any) -> float:
    """Mean absolute difference of the aligned image and the reference, in gray levels."""
    inspector = Inspector(Inspection(alignment=aligner_settings), draw_bracket())
    shown, placement = inspector.view(image, (WIDTH, HEIGHT), cv2.INTER_AREA)
    assert placement.found
    return float(np.abs(shown.astype(float) - draw_bracket()).mean())


@pytest.mark.parametrize(
    ("settings", "pose"),
    [
        (Alignment("translation", "", shift=0.3, angle=0, scale=0, correlation=0.4), {"shift": (17.0, -9.5)}),
        (SIMILARITY, {"shift": (-12.0, 6.0), "angle": 14.0, "scale": 0.88}),
        (FULL_TURN, {"angle": 137.0, "shift": (8.0, 4.0)}),
        (FULL_TURN, {"angle": -90.0}),
    ],
)
def test_part_is_moved_onto_the_reference(settings: Alignment, pose: dict[str, Any]) -> None:
    unaligned = np.abs(draw_bracket(**pose, seed=1).astype(float) - draw_bracket()).mean()
    assert aligned_difference(settings, draw_bracket(**pose, seed=1)) < min(5.0, unaligned / 2)


def test_light_and_a_defect_do_not_move_the_part() -> None:
    aligner = PartAligner(SIMILARITY, draw_bracket())
    usual = aligner.locate(draw_bracket((9, 5), 10, seed=1))
    for other in (draw_bracket((9, 5), 10, gain=0.5, seed=2), draw_bracket((9, 5), 10, seed=3, scratched=True)):
        placement = aligner.locate(other)
        assert placement.found
        np.testing.assert_allclose(placement.matrix, usual.matrix, atol=0.01)


def test_motion_is_measured_in_sides_and_degrees() -> None:
    placement = PartAligner(SIMILARITY, draw_bracket()).locate(draw_bracket((20, 0), 12, 1.1, seed=1))
    moved = measure_motion(placement.matrix, WIDTH / HEIGHT)
    assert moved.shift == pytest.approx(20 / WIDTH, abs=0.01)
    assert moved.angle == pytest.approx(12, abs=1)
    assert moved.scale == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize(
    "image",
    [
        np.full((HEIGHT, WIDTH, 3), 60, np.uint8),
        np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8),
        draw_bracket((0, 0), 80, seed=1),
        draw_bracket((75, 0), seed=1),
    ],
    ids=["nothing", "noise", "turned beyond the limit", "mostly outside"],
)
def test_part_that_is_not_there_is_not_found(image: Any) -> None:
    inspector = Inspector(Inspection(alignment=SIMILARITY), draw_bracket())
    assert not inspector.view(image, (WIDTH, HEIGHT), cv2.INTER_AREA)[1].found


def test_what_the_frame_does_not_show_is_taken_from_the_reference() -> None:
    inspector = Inspector(Inspection(alignment=SIMILARITY), draw_bracket())
    moved = draw_bracket((-30, 0), seed=1)
    moved[:, :20] = (0, 0, 255)  # at the border that would be repeated
    shown, placement = inspector.view(moved, (WIDTH, HEIGHT), cv2.INTER_AREA)
    assert placement.found
    assert np.abs(shown[:, :25].astype(float) - draw_bracket()[:, :25]).mean() < 5


def test_box_of_the_model_is_a_box_in_the_frame() -> None:
    region = ((0.25, 0.2), (0.75, 0.2), (0.75, 0.8), (0.25, 0.8))
    inspector = Inspector(Inspection(region, SIMILARITY), draw_bracket())
    _, placement = inspector.view(draw_bracket((16, -10), seed=1), (96, 96), cv2.INTER_AREA)
    box = inspector.to_frame(Box(0.0, 0.0, 0.5, 1.0), placement)
    right, down = 16 / WIDTH, -10 / HEIGHT
    expected = [0.25 + right, 0.2 + down, 0.5 + right, 0.8 + down]
    np.testing.assert_allclose([box.left, box.top, box.right, box.bottom], expected, atol=0.01)


def test_region_is_cut_and_the_rest_is_gray() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    image[:, 100:] = (10, 20, 30)
    inspector = Inspector(Inspection(((0.5, 0.0), (1.0, 0.0), (0.5, 1.0))))
    shown, placement = inspector.view(image, (50, 50), cv2.INTER_AREA)
    assert placement.found
    assert shown[5, 5].tolist() == [10, 20, 30]
    assert shown[45, 45].tolist() == [OUTSIDE_GRAY] * 3
    mask = inspector.cut_mask(np.full((100, 200), 1, np.uint8), placement, (50, 50))
    assert (mask[5, 5], mask[45, 45]) == (1, 0)
