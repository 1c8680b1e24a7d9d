"""Thresholds of single areas of the part (`[[inspect.areas]]`), fitted to good images.

Each area gets the threshold that its highest cell exceeds in an equal share of the accepted false alarms. Only the
differences between areas are kept, as offsets; the threshold of the frame's one score is chosen afterwards on other
images, so its guarantee does not depend on how well the offsets were estimated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from vedette.runtime.bundle.manifest import Inspection, InspectionArea
from vedette.runtime.calibration.independent_threshold import choose_threshold
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.inference.area_thresholds import AreaThresholds, locate_areas
from vedette.runtime.inference.inspector import Inspector

from ..data.few_images import MIN_SPLIT_IMAGES
from ..goal.inspection_settings import AreaSettings
from .anomaly_scoring import ImageScores, score_images
from .built_models import INT8_ONNX, BuiltModels

FINE_GRID = (64, 64)  # cells of the check whether the model sees an area


def check_areas(settings: Sequence[AreaSettings], few: bool, inspector: Inspector | None) -> None:
    """Checks before the long work that the model sees each area, and that there are images to fit thresholds to.

    Args:
        settings: `[[inspect.areas]]` of the goal
        few: whether all good images serve to fit
        inspector: cuts what the model sees out of an image; None: the whole image

    Raises:
        ConfigProblem: there are too few images, the model sees nothing of an area, or all is ignored.
    """
    if not settings:
        return
    if few:
        hint = f"give at least {MIN_SPLIT_IMAGES} good images of different parts, or leave inspect.areas out"
        raise ConfigProblem("inspect.areas: too few good images for thresholds of single areas", hint=hint)
    region = () if inspector is None else inspector.settings.region
    cells = locate_areas([each.polygon for each in settings], region, FINE_GRID)
    for index, area in enumerate(settings):
        if not (cells == index).any():
            hint = "give it a part of the picture that inspect.region shows, and that no area before it covers"
            raise ConfigProblem(f"inspect.areas: the model sees nothing of {area.name}", hint=hint)
    if all(index >= 0 and settings[index].ignore for index in np.unique(cells)):
        raise ConfigProblem("inspect.areas: the whole picture is ignored", hint="leave a part of it to inspect")


def fit_areas(
    settings: Sequence[AreaSettings], models: BuiltModels, paths: Sequence[Path], target_rate: float
) -> AreaThresholds | None:
    """The thresholds of the areas; None without any.

    Args:
        settings: `[[inspect.areas]]` of the goal
        models: the built models
        paths: good images that the threshold is not chosen on
        target_rate: share of good parts that may raise an alarm
    """
    if not settings:
        return None
    manifest, calibrate = models.manifest, score_images(models.runners[INT8_ONNX], paths)
    region = () if manifest.inspect is None else manifest.inspect.region
    score, (rows, columns) = manifest.output("score"), manifest.output("map").shape[-2:]
    areas = tuple(InspectionArea(each.name, each.polygon, ignore=each.ignore) for each in settings)
    area_of_cell = locate_areas([area.polygon for area in areas], region, (rows, columns))
    cells = {index: area_of_cell == index for index in range(-1, len(areas))}
    judged = [index for index in cells if cells[index].any() and (index < 0 or not areas[index].ignore)]
    rate, step = target_rate / max(len(judged), 1), score.scale
    highest = np.array([image.max() for image in calibrate.maps])
    thresholds = {}
    for index in judged:
        lowered = highest - [image[cells[index]].max() for image in calibrate.maps]
        steps = np.rint((calibrate.scores - lowered) / step)
        thresholds[index] = choose_threshold(steps * step, step, rate).score
    reference = thresholds.get(-1, min(thresholds.values(), default=0.0))
    offsets = {index: round(threshold - reference, 6) for index, threshold in thresholds.items()}
    fitted = (msgspec.structs.replace(area, offset=offsets.get(index, 0.0)) for index, area in enumerate(areas))
    return AreaThresholds(tuple(fitted), region, score, (rows, columns))


def adjust_scores(scored: ImageScores, areas: AreaThresholds | None) -> ImageScores:
    """Scores and maps as the device has them, with the thresholds of the areas applied."""
    if areas is None:
        return scored
    maps = [areas.adjust_map(each) for each in scored.maps]
    pairs = zip(scored.scores, scored.maps, maps, strict=True)
    return ImageScores(maps, np.array([areas.adjust_score(float(score), *images) for score, *images in pairs]))


def adjust_predictions(
    predictions: Mapping[str, tuple[ImageScores, ImageScores]], areas: AreaThresholds | None
) -> dict[str, tuple[ImageScores, ImageScores]]:
    """As `adjust_scores`, of each model for the good and for the defective test images."""
    return {
        name: (adjust_scores(good, areas), adjust_scores(defect, areas)) for name, (good, defect) in predictions.items()
    }


def add_areas(inspector: Inspector | None, areas: AreaThresholds | None) -> Inspection | None:
    """What the manifest says of the inspection: the inspector's settings with the areas."""
    settings = None if inspector is None else inspector.settings
    if areas is None:
        return settings
    return msgspec.structs.replace(settings or Inspection(), areas=areas.areas)
