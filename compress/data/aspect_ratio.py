"""The aspect ratio of what a model sees: of the images, or of the region that is cut out of them.

Images of many shapes have no common aspect ratio. Then an anomaly model gets every image squeezed to a square: a shape
in the middle of them lowers the AUROC (docs/accuracy.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vedette.runtime.camera import image_files
from vedette.runtime.inference.inspector import Inspector
from vedette.runtime.progress import Log

from ..goal.goal_tables import ModelTable
from ..models.design import choose_input
from ..models.image_size import ImageSize, describe

MAX_IMAGES = 40
MAX_FACTOR = 1.1  # between the median and the 10th or 90th percentile


def choose_input_size(
    model: ModelTable, paths: Sequence[Path], inspector: Inspector | None, log: Log
) -> tuple[ImageSize, float]:
    """The size of the input that a goal asks for, and the aspect ratio of what the model sees; 1 if nothing needs it.

    Args:
        model: the table `[model]` of the goal
        paths: good images
        inspector: cuts what the model sees out of an image; None: the model sees the whole image
        log: says what was found
    """
    if model.input != "auto":
        return choose_input(model), 1.0
    ratio = measure_aspect_ratio(paths, inspector, log)
    size = choose_input(model, ratio)
    log(f"input: {describe(size)} pixels")
    return size, ratio


def measure_aspect_ratio(paths: Sequence[Path], inspector: Inspector | None, log: Log) -> float:
    """Width divided by height of what the model sees; 1 if the images have no common aspect ratio.

    Args:
        paths: good images
        inspector: cuts what the model sees out of an image; None: the model sees the whole image
        log: says what was found
    """
    low, median, high = measure_quantiles(paths)
    if have_different_shapes(low, median, high):
        log(f"aspect ratio: the images have different shapes ({low:.2f} to {high:.2f}), so the input is a square")
        return 1.0
    region = None if inspector is None else inspector.settings.region
    across, down = (1.0, 1.0) if region is None else np.ptp(region, axis=0)
    return float(median * across / down)


def have_different_shapes(low: float, median: float, high: float) -> bool:
    """Whether images with these quantiles of their aspect ratio have no common one."""
    return high > MAX_FACTOR * median or median > MAX_FACTOR * low


def measure_quantiles(paths: Sequence[Path]) -> tuple[float, float, float]:
    """Width divided by height of images: the 10th percentile, the median and the 90th percentile.

    Args:
        paths: images; MAX_IMAGES of them are read
    """
    step = -(-len(paths) // MAX_IMAGES)
    shapes = [image_files.read_image(path).shape for path in paths[::step]]
    low, median, high = np.quantile([width / height for height, width, _ in shapes], (0.1, 0.5, 0.9))
    return float(low), float(median), float(high)
