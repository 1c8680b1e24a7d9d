"""Outputs of a model over the images of a video clip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from vedette.runtime.bundle.manifest import MotionInput
from vedette.runtime.camera.image_files import read_image
from vedette.runtime.inference.frame_differencing import aggregate_windows

from .model_runners import ModelRunner


def run_on_clip_images(runner: ModelRunner, images: Sequence[Path]) -> list[tuple[float, dict[str, NDArray[Any]]]]:
    """The outputs for each image of a clip, dequantized, with the second at which the image was taken."""
    return [(int(path.stem) / 1000, runner(read_image(path))) for path in images]


def score_clip_windows(
    runner: ModelRunner, images: Sequence[Path], motion: MotionInput
) -> list[dict[str, NDArray[Any]]]:
    """The outputs that the device would have aggregated over each window of the clip."""
    return aggregate_windows(motion, run_on_clip_images(runner, images))
