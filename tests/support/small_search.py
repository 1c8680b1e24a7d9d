"""A search over four small designs, as one process of several runs it."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from vedette import devices
from vedette.compress.cost.cost_limits import CostLimits
from vedette.compress.data import split
from vedette.compress.data.image_feature_cache import ImageFeatureCache
from vedette.compress.goal import goal_reader
from vedette.compress.models.design import SearchSpace
from vedette.compress.search.search_setup import SearchSetup
from vedette.compress.search.study import DesignSearch
from vedette.runtime.progress import no_progress

PI4 = devices.load_profile("pi4")
SMALL_SPACE = SearchSpace(
    anomaly_models=("padim",), blocks=((2,), (2, 4)), input_sizes=(96, (64, 96)), ranks=(None, 16)
)


def feature_cache_of(product: Path) -> ImageFeatureCache:
    """Pictures of the product at 96 pixels, few of them."""
    goal = goal_reader.read_goal(product / "goal.toml")
    images = split.split_images(goal.data, product)
    return ImageFeatureCache(images, 96, (2, 4), 0, no_progress)


def run_small_search(gallery, url, seconds=300.0, say=lambda _: None):
    goal = msgspec.structs.replace(
        goal_reader.read_goal(gallery.split.fit[0].parent.parent / "goal.toml"), name="small"
    )
    until = time.monotonic() + seconds
    spent = SearchSetup(until, until, url, Path(), PI4, CostLimits(cost=9e6))
    return DesignSearch(goal, SMALL_SPACE, gallery, spent, say).run()
