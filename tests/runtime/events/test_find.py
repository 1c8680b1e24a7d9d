"""`vedette find`: the events, pictures and clips of a box, from its configuration, its state, or a copy of that."""

from __future__ import annotations

import json
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from events import make_event

from vedette.runtime.clock import Clock
from vedette.runtime.commands.find import parse_time
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.events.event import SubjectState
from vedette.runtime.events.outbox import FILE_NAME, Outbox
from vedette.runtime.evidence.reviews import Review, ReviewStore
from vedette.runtime.inference.prediction import Box, Prediction

NOW = time.time()
STORY = [  # camera, rule, label, hours ago, zones
    ("door", "fall", "person", 1.0, ("hall",)),
    ("door", "zone", "person", 3.0, ("yard", "door")),
    ("door", "zone", "car", 30.0, ("yard",)),
    ("gate", "fall", "person", 50.0, ()),
]


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    """A configuration and the state of two cameras; the ids of the events by their hours."""
    folder, ids = tmp_path_factory.mktemp("box"), {}
    (folder / "cameras").mkdir()
    (folder / "vedette.toml").write_text("[device]\nname = 'box'\nstate = 'state'\n")
    for camera in ("door", "gate"):
        text = "source = 'file:x'\nbundle = 'x'\n[[rules]]\nuse = 'presence'\n"
        (folder / "cameras" / f"{camera}.toml").write_text(text)
        state = folder / "state" / camera
        (state / "evidence" / "waiting").mkdir(parents=True)
        outbox = Outbox(state / FILE_NAME, 1 << 20, camera=camera, clock=Clock())
        for number, (where, rule, label, hours, zones) in enumerate(STORY):
            if where != camera:
                continue
            began = NOW - 3600 * hours
            facts = {"camera": camera, "rule": rule, "started": began, "track": number}
            facts["predictions"] = (Prediction(label, 0.8, Box(0.1, 0.1, 0.2, 0.2), track=number),)
            facts["after"] = SubjectState(label, 0.8, zones=zones, entered_zones=zones)
            new = msgspec.structs.replace(make_event(number), kind="new", taken=began, **facts)
            end = make_event(number)
            end = msgspec.structs.replace(end, event=new.event, kind="end", taken=began + 120, **facts)
            outbox.put(new, end)
            ids[hours] = new.event
            (state / "evidence" / ("waiting" if number == 0 else ".") / f"{new.event}.jpg").write_bytes(b"picture")
        outbox.close()
    (folder / "state" / "door" / "evidence" / f"{ids[1.0]}.mp4").write_bytes(b"clip")
    ReviewStore(folder / "state" / "door").add(Review(ids[3.0], "door", "right", "", "kim", NOW))
    return folder, ids


def at_minute(text: str) -> str:
    """`@N`: N minutes before the story was written."""
    return datetime.fromtimestamp(NOW - 60 * int(text[1:]), UTC).isoformat()


@pytest.mark.parametrize("place", [".", "state"])
@pytest.mark.parametrize(
    ("asked", "hours"),
    [
        ([], [1.0, 3.0, 30.0, 50.0]),
        (["--rule", "fall"], [1.0, 50.0]),
        (["--rule", "fall", "--since", "2h"], [1.0]),
        (["--rule", "fall", "--rule", "zone", "--since", "2d"], [1.0, 3.0, 30.0]),
        (["--until", "2h"], [3.0, 30.0, 50.0]),
        (["--label", "car"], [30.0]),
        (["--zone", "door"], [3.0]),
        (["--camera", "gate"], [50.0]),
        (["--limit", "2"], [1.0, 3.0]),
        (["--since", "10m"], []),
        (["--since", "@179", "--until", "@120"], [3.0]),  # it lasted into that time
    ],
)
def test_events_are_found(box, place, asked, hours, call_vedette):
    folder, ids = box
    asked = [at_minute(each) if each.startswith("@") else each for each in asked]
    done = call_vedette("find", folder / place, *asked, "--json")
    assert done.returncode == 0, done.stderr
    assert [each["event"] for each in json.loads(done.stdout)] == [ids[each] for each in hours]


def test_what_is_told_of_an_event(box, call_vedette, tmp_path):
    folder, ids = box
    shutil.copytree(folder / "state" / "door", tmp_path / "copy")
    first, second, third = json.loads(call_vedette("find", tmp_path / "copy", "--json").stdout)
    assert (first["camera"], first["rule"], first["label"], first["zones"]) == ("copy", "fall", "person", ["hall"])
    assert (first["seconds"], first["open"], first["score"], first["track"]) == (120.0, False, 3.5, 0)
    assert Path(first["picture"]).parent.name == "waiting"
    assert Path(first["clip"]).read_bytes() == b"clip"
    assert (second["verdict"], "clip" in second, "verdict" in third) == ("right", False, False)
    shown = call_vedette("find", folder, "--rule", "fall", "--since", "2h", "--copy", tmp_path / "out").stdout
    assert "fall person in hall  120.0 s" in shown
    assert shown.endswith("1 events\n")
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".jpg", ".mp4"}
    assert all(f"-door-fall-{ids[1.0]}" in path.name for path in (tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--since", "yesterday"], "is no time"),
        (["--camera", "yard"], "no events of yard"),
        (["--since", "999999w"], ""),
    ],
)
def test_mistakes_are_told(box, arguments, message, call_vedette):
    done = call_vedette("find", box[0], *arguments)
    assert (done.returncode != 0) == bool(message)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_without_events_is_told(tmp_path, call_vedette):
    done = call_vedette("find", tmp_path / "nothing")
    assert done.returncode != 0
    assert "holds no events" in done.stderr


def test_times():
    assert parse_time(None, "--since", 5.0) == 5.0
    assert parse_time("2h", "--since", 0.0) == pytest.approx(time.time() - 7200, abs=5)
    assert parse_time("2026-11-29T18:00+00:00", "--since", 0.0) == 1795975200.0
    with pytest.raises(ConfigProblem, match="--until"):
        parse_time("0", "--until", 0.0)
