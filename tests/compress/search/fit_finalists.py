"""Search one trial for a goal file and build its finalists, as a process of its own that a test can kill.

Arguments: the goal file, and the folder of the study.
"""

from __future__ import annotations

import hashlib
import itertools
import sys
import time
from pathlib import Path

import click
import msgspec

from vedette import devices
from vedette.compress.cost.cost_limits import CostLimits
from vedette.compress.data import split
from vedette.compress.data.image_feature_cache import ImageFeatureCache
from vedette.compress.goal import goal_reader
from vedette.compress.models.design import SearchSpace, choose_input
from vedette.compress.search import selection
from vedette.compress.search.finalists import FinalistBuilder
from vedette.compress.search.search_setup import SearchSetup, study_url
from vedette.compress.search.study import DesignSearch
from vedette.runtime.progress import no_progress


def main(path: Path, folder: Path) -> None:
    goal, now = goal_reader.read_goal(path), time.monotonic()
    setup = SearchSetup(now, now + 3600, study_url(folder), folder, devices.load_profile("pi4"), CostLimits())
    images = split.split_images(goal.data, path.parent)
    space = SearchSpace.for_goal(goal.model, len(images.fit))
    size = choose_input(goal.model)
    cache = ImageFeatureCache(images, size, itertools.chain(*space.blocks), goal.data.seed, no_progress)

    builder = FinalistBuilder(goal, images, cache, setup, no_progress, click.echo)
    model = msgspec.structs.replace(goal.model, input=size)
    defaults = selection.list_default_trials(model, len(images.fit), setup.device)
    best = builder.run(DesignSearch(goal, space, cache, setup, click.echo).run(), defaults)
    files = [model.SerializeToString(deterministic=True) for model in (best.model.float_model, best.model.int8_model)]
    click.echo(" ".join(hashlib.sha256(file).hexdigest() for file in files))
    click.echo(msgspec.json.encode([finalist.trial for finalist in builder.finalists]))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
