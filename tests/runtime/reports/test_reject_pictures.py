"""Rejected parts in the report of a shift: the worst of them, with the pictures that may be shown, within a size."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from verdicts import make_verdict

from vedette.runtime.config.configuration import Config, load_config
from vedette.runtime.events.event import SystemEvent
from vedette.runtime.events.outbox import Outbox
from vedette.runtime.events.part_counts import PartCounts
from vedette.runtime.events.part_verdict import RegionVerdict
from vedette.runtime.inference.prediction import Box
from vedette.runtime.reports.reject_pictures import PictureRules
from vedette.runtime.reports.shift_data import read_shift
from vedette.runtime.reports.shift_page import render_shift
from vedette.runtime.reports.shift_report import make_shift_report

NOW = 1.8e9
BOX = RegionVerdict("rim", "reject", 2.0, "scratch", Box(0.25, 0.5, 0.5, 0.75))


def make_line(folder: Path, camera: str = '[evidence]\nthumbnail = "jpeg"\n') -> Config:
    (folder / "cameras").mkdir(parents=True, exist_ok=True)
    (folder / "vedette.toml").write_text('[device]\nname = "box"\n[outbox]\nvolatile = true\njournal = 10\n')
    (folder / "cameras" / "door.toml").write_text(
        f'source = "file:parts"\nbundle = "cells.vedette"\n[trigger]\nsource = "mqtt:"\n{camera}'
    )
    return load_config(folder, "door")


def store(settings: Config, *verdicts: SystemEvent) -> None:
    outbox = Outbox.from_config(settings)
    PartCounts.from_config(settings, outbox)
    for start in range(0, len(verdicts), 100):
        last = outbox.put(*verdicts[start : start + 100])
        outbox.acknowledge([*range(max(1, last - 99), last + 1)])
    outbox.close()


def store_pictures(settings: Config, event: str, side: int = 320) -> None:
    folder = settings.evidence.store_folder("door", settings.state_folder)
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)
    for suffix, pixels in ((".jpg", noise), (".good.jpg", noise[:96, :96]), (".heat.png", noise[:8, :8])):
        (folder / f"{event}{suffix}").write_bytes(cv2.imencode(suffix[-4:], pixels)[1].tobytes())


def page_of(settings: Config, **options: int) -> str:
    data = read_shift(settings)
    return render_shift(data, make_shift_report(data), PictureRules(settings), **options).decode()


def test_the_worst_of_a_long_shift_are_kept_by_product(tmp_path: Path) -> None:
    """The journal of the outbox has let go of them long before."""
    settings = make_line(tmp_path)
    chances = np.random.default_rng(1).permutation(400) / 100
    verdicts = [
        make_verdict(NOW + number / 20, "reject", score=score * factor, product=product, part=str(number))
        for number, score in enumerate(chances.tolist())
        for product, factor in (("left", 1), ("right", 100))
    ]
    store(settings, *verdicts, *[make_verdict(NOW + 60, "accept", score=9.0) for _ in range(50)])
    rejects = make_shift_report(read_shift(settings)).rejects
    assert len(rejects) == 200
    assert {each.verdict.product for each in rejects[:2]} == {"left", "right"}, "their scores cannot be compared"
    for product, factor in (("left", 1), ("right", 100)):
        scores = [each.verdict.score for each in rejects if each.verdict.product == product]
        assert scores == sorted(chances * factor, reverse=True)[:100]
    page = page_of(settings, shown=3)
    assert page.count('<figure class="reject">') == 3
    assert "3 of 800 are shown" in page
    assert "The device keeps the facts of 200." in page


def test_picture_heat_map_good_part_and_boxes_are_in_the_page_and_bounded(tmp_path: Path) -> None:
    settings = make_line(tmp_path)
    verdicts = [make_verdict(NOW, "reject", score=2.0, regions=(BOX,), serial="<b>", label="x") for _ in range(4)]
    store(settings, *verdicts)
    for each in verdicts:
        store_pictures(settings, each.id, side=900)
    page = page_of(settings, shown=3)
    assert page.count("data:image/jpeg") == 6
    assert page.count("data:image/png") == 3
    assert page.count('<rect x="25.00%" y="50.00%" width="25.00%" height="25.00%"/>') == 3
    assert "<b>" not in page
    assert len(page) - len(page_of(settings, shown=0)) < 3 * 180_000
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(each.startswith("data:image/") for each in addresses), "it fetches nothing"


PRIVATE = '[evidence]\nthumbnail = "jpeg"\n[privacy]\nfaces = "hide"\n'


@pytest.mark.parametrize(
    ("camera", "age_days", "told", "pictures"),
    [
        ('[evidence]\nthumbnail = ""\n', 0.0, "[evidence] thumbnail is off", 0),
        ('[evidence]\nthumbnail = "jpeg"\ndays = 2\n', 3.0, "older than 2 days", 0),
        (PRIVATE, 1.0, "older than the camera", 0),
        (PRIVATE, -1.0, "faces hidden", 1),
        ('[evidence]\nthumbnail = "jpeg"\nblur = "people"\n', -1.0, "pictures are blurred", 1),
        ('[evidence]\nthumbnail = "jpeg"\n', 1.0, "", 2),
    ],
)
def test_what_the_evidence_rules_forbid_now_is_not_shown(
    tmp_path: Path, camera: str, age_days: float, told: str, pictures: int
) -> None:
    settings = make_line(tmp_path, camera)
    verdict = make_verdict(NOW, "reject", score=2.0)
    store(settings, verdict)
    store_pictures(settings, verdict.id)
    for path in settings.evidence.store_folder("door", settings.state_folder).iterdir():
        os.utime(path, (time.time() - 86400 * age_days,) * 2)
    page = page_of(settings)
    assert told in page
    assert page.count("data:image/jpeg") == pictures
    assert page.count("data:image/png") == bool(pictures)


def test_missing_and_damaged_files_are_told(tmp_path: Path) -> None:
    settings = make_line(tmp_path)
    gone, damaged, bare = (make_verdict(NOW, "reject", score=2.0) for _ in range(3))
    store(settings, gone, damaged, bare)
    for each in (damaged, bare):
        store_pictures(settings, each.id)
    folder = settings.evidence.store_folder("door", settings.state_folder)
    (folder / f"{damaged.id}.jpg").write_bytes(b"\xff\xd8 no picture")
    (folder / f"{bare.id}.heat.png").unlink()
    (folder / f"{bare.id}.good.jpg").unlink()
    page = page_of(settings)
    no_heat, no_good = "No heat map: the model gives none", "No good part beside"
    for told in ("deleted since", "the file cannot be read", no_heat, no_good):
        assert told in page, told
    assert page.count("data:image") == 1
    assert PictureRules(settings).read_pictures("../../vedette").missing
