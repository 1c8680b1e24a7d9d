"""Why a part was rejected, from the real daemon to the page: its picture, the heat map, and a good part beside it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from daemon_process import NO_BROKER, DaemonProcess
from page_client import PageClient, make_app

from vedette.deploy.feedback.state_search import search_folders
from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.config.configuration import load_config
from vedette.runtime.page.event_records import EventFilter, EventReader, EventRecord
from vedette.runtime.reports.reject_pictures import PictureRules
from vedette.runtime.reports.shift_data import read_shift
from vedette.runtime.reports.shift_page import render_shift
from vedette.runtime.reports.shift_report import make_shift_report

PARTS = 9


def run_parts(process: DaemonProcess, images: Path, evidence: str) -> list[EventRecord]:
    """Lets nine parts pass, of which each third is bad; returns what the page lists as parts."""
    process.configure(f"file:{images}?fps=0", NO_BROKER)
    process.amend("outbox", "drain = 0.1")
    path = process.folder / "vedette.toml"
    path.write_text(path.read_text().replace("volatile = true\n", ""))
    process.append(f'[trigger]\nsource = "file:triggers.txt"\ndeadline = 60.0\ndepth = 64\n[evidence]\n{evidence}')
    triggers = "".join(f"{0.2 + 0.02 * number:.2f} S-{number + 1}\n" for number in range(PARTS))
    (process.folder / "cameras" / "triggers.txt").write_text(triggers)
    assert process.start().wait(120) == 0, process.log()
    reader = EventReader.from_config(load_config(process.folder, "door"))
    return reader.list_events(EventFilter(rule="part"), 100)


def test_each_rejected_part_has_its_heat_map_and_a_good_part_beside_it(
    daemon_process: DaemonProcess, line_images: Path, anomaly_bundle: Bundle
) -> None:
    records = run_parts(daemon_process, line_images, 'thumbnail = "jpeg"')
    assert [each.part.serial for each in records if each.part] == ["S-9", "S-6", "S-3"]
    client = PageClient(make_app(daemon_process.folder))
    pictures = {anomaly_bundle.members[name] for name in anomaly_bundle.manifest.pictures}
    for record in records:
        assert record.has_picture
        assert record.has_heat
        assert record.has_good
        assert not record.is_open
        address = f"/events/door/{record.event}"
        assert client.get(f"{address}/evidence.good").body in pictures
        heat = cv2.imdecode(np.frombuffer(client.get(f"{address}/evidence.heat").body, np.uint8), cv2.IMREAD_UNCHANGED)
        assert heat.shape[2] == 4
        assert heat[..., 3].max() > 60, "the defect is colored"
        assert 2 * np.median(heat[..., 3]) < heat[..., 3].max(), "what is usual is not, or less"
        assert record.part is not None
        (region,) = record.part.regions
        assert region.box is not None
        assert (region.verdict, region.score, record.boxes) == ("reject", record.part.score, [region.box])
        x, y = (region.box.left + region.box.right) / 2, (region.box.top + region.box.bottom) / 2
        assert heat[int(y * heat.shape[0]), int(x * heat.shape[1]), 3] > 60, "the box lies on what is colored"
        shown = client.get(address).text
        assert f'<rect x="{100 * region.box.left:.1f}' in shown
        assert 'data-shows="boxes-of-regions"' in shown
        assert "evidence.good" in shown
        assert "evidence.heat" in shown
    answer = client.post(f"/events/door/{records[0].event}/review", {"verdict": "false_alarm"})
    assert answer.status == 200
    reader = EventReader.from_config(load_config(daemon_process.folder, "door"))
    judged = reader.find_event(records[0].event)
    assert judged is not None
    assert judged.review is not None
    assert judged.review.verdict == "false_alarm"
    assert records[0].event in client.get("/events?rule=part").text

    settings = load_config(daemon_process.folder, "door")
    shift = read_shift(settings)
    report = make_shift_report(shift)
    assert {each.event for each in report.rejects} == {each.event for each in records}
    page = render_shift(shift, report, PictureRules(settings)).decode()
    assert page.count("data:image/jpeg") == 6
    assert page.count("data:image/png") == 3
    assert page.count('%"/>') == 3, "a box of each"

    (pulled,) = (found := search_folders([daemon_process.folder / "state"])).events
    assert (pulled.review.event, pulled.whole) == (records[0].event, "yes"), "the next release can learn from it"
    assert pulled.score == records[0].last.top_score
    assert (
        found.pictures[pulled.review.event][1] == client.get(f"/events/door/{records[0].event}/evidence.picture").body
    )


@pytest.mark.slow
def test_picture_of_the_workshop_is_not_stored_where_pictures_are_blurred(
    daemon_process: DaemonProcess, line_images: Path
) -> None:
    records = run_parts(daemon_process, line_images, 'thumbnail = "jpeg"\nblur = "people"')
    assert len(records) == 3
    assert all(each.has_picture and each.has_heat and not each.has_good for each in records)
