"""A search over four small designs, as one process of several runs it."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from vedette import devices
from vedette.compress.cost.cost_limits import Budget
from vedette.compress.data import split
from vedette.compress.data.feature_cache import Gallery
from vedette.compress.goal import goal_file as goals
from vedette.compress.models.design import Space
from vedette.compress.search.study import Effort, Search

PI4 = devices.load("pi4")
SMALL = Space(detectors=("padim",), blocks=((2,), (2, 4)), inputs=(96, 64), ranks=(None, 16))


def gallery_of(product: Path) -> Gallery:
    """Pictures of the product at 96 pixels, few of them."""
    goal = goals.read(product / "goal.toml")
    images = split.split(goal.data, product)
    return Gallery(images, 96, (2, 4), 0, lambda items, _: items)


def searched(gallery, url, seconds=300.0, say=lambda _: None):
    goal = msgspec.structs.replace(goals.read(gallery.images.fit[0].parent.parent / "goal.toml"), name="small")
    until = time.monotonic() + seconds
    spent = Effort(until, until, url, Path(), PI4, Budget(effort=9e6))
    return Search(goal, SMALL, gallery, spent, say).run()
