"""Corrections: judged events alone come from a box, with the pictures that it stored; again changes nothing."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import stat
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from events import make_event

from vedette.deploy.commands.feedback import feedback
from vedette.deploy.feedback.corrections_folder import Correction, merge_feedback, read_table
from vedette.deploy.feedback.feedback import ScoreRow, day_of_event
from vedette.deploy.feedback.feedback_archive import read_archive
from vedette.deploy.feedback.state_search import read_scores, search_folders
from vedette.runtime.camera.frame import Frame, FrameTime
from vedette.runtime.config.evidence_table import EvidenceSettings
from vedette.runtime.errors import ConfigProblem, Problem
from vedette.runtime.events.event import Event
from vedette.runtime.events.outbox import Outbox
from vedette.runtime.evidence.recorder import EvidenceRecorder
from vedette.runtime.evidence.reviews import Review, ReviewStore, Verdict
from vedette.runtime.live.score_history import ScoreHistory

PIXELS = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
SCORES = "time,camera,model,score,alarm\n100,door,m:1:ab,0.5,0\n101,door,m:1:ab,3.5,1\nbad,door,m:1:ab,nan,1\n"


def make_box(state: Path, count: int, whole: bool = True) -> list[Event]:
    """Events of the camera door, recorded as the daemon does: evidence, then the outbox."""
    settings = EvidenceSettings(thumbnail="jpeg", whole_frame=whole)
    folder = state / "door"
    config = SimpleNamespace(evidence=settings, camera="door", state_folder=folder, outbox=SimpleNamespace(min_free=0))
    outbox = Outbox(folder / "outbox.db", 1 << 20, camera="door")
    recorder = EvidenceRecorder(config, outbox)  # type: ignore[arg-type]
    events = []
    for number in range(count):
        event = make_event(100 + number)
        recorder.add_frame(Frame("door", event.frame, event.taken, PIXELS, event.taken), event.predictions)
        events.append(recorder.attach(event))
        outbox.put(events[-1])
    recorder.close()
    outbox.close()
    return events


def keep_scores(state: Path, scores: list[float]) -> None:
    """What the daemon of the camera door keeps of them, one every five seconds."""
    (state / "door").mkdir(parents=True)
    history = ScoreHistory(state / "door", "m:1:ab", 2.0)
    for number, score in enumerate(scores):
        history.add(FrameTime(moment=5.0 * number, taken=1000.0 + 5 * number), score, score >= 2)
    history.close()


def judge(state: Path, event: Event, verdict: Verdict, label: str = "", time: float = 1000.0) -> None:
    ReviewStore(state / "door").add(Review(event.event, "door", verdict, label, "kim", time))


def pull(*arguments: str | Path) -> str:
    result = CliRunner().invoke(feedback, ["pull", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_pull_sorts_pictures_by_verdict_and_again_changes_nothing(tmp_path: Path) -> None:
    state, out = tmp_path / "state", tmp_path / "corrections"
    events = make_box(state, 5)
    for event, verdict, label in zip(
        events, ("false_alarm", "right", "missed", "label"), ("", "", "", "../deep scratch"), strict=False
    ):
        judge(state, event, verdict, label)  # type: ignore[arg-type]
    (state / "door/scores.csv").write_text(SCORES)
    pull(state, "--out", out)
    names = [f"{place}/{event.event}.jpg" for place, event in
             zip(("false_alarm", "right", "missed", "label/deep_scratch"), events, strict=False)]  # fmt: skip
    first = files(out)
    assert sorted(first) == sorted([*names, "corrections.csv", "scores.csv"])  # the fifth nobody judged
    row = read_table(out)[0]
    assert row.group.startswith("door 20")
    assert (row.whole, float(row.score)) == ("yes", 3.5)
    assert row.sha256 == hashlib.sha256(first[row.file]).hexdigest()
    picture = cv2.imdecode(np.frombuffer(first[row.file], np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == PIXELS.shape  # the whole frame, although the event has a box
    assert stat.S_IMODE((out / row.file).stat().st_mode) == 0o600
    table = list(csv.DictReader((out / "scores.csv").read_text().splitlines()))
    assert [(each["time"], each["alarm"], each["verdict"]) for each in table] == [
        ("100", "0", "false_alarm"),
        ("101", "1", "right"),
    ]
    pull(state, "--out", out)
    assert files(out) == first


def test_a_changed_verdict_moves_the_picture_even_if_the_box_no_longer_has_it(tmp_path: Path) -> None:
    state, out = tmp_path / "state", tmp_path / "corrections"
    event, other = make_box(state, 2)
    judge(state, event, "false_alarm")
    judge(state, other, "right")
    pull(state, "--out", out)
    content = (out / f"false_alarm/{event.event}.jpg").read_bytes()
    (state / f"door/evidence/{event.event}.jpg").unlink()
    judge(state, event, "right", time=2000.0)
    assert "1 with another verdict" in pull(state, "--out", out)
    assert (out / f"right/{event.event}.jpg").read_bytes() == content
    assert not list((out / "false_alarm").iterdir())
    judge(state, event, "missed", time=1500.0)  # older than what the folder knows
    pull(state, "--out", out)
    assert next(row.verdict for row in read_table(out) if row.event == event.event) == "right"


def test_scores_that_the_box_keeps_are_fetched(tmp_path: Path) -> None:
    keep_scores(tmp_path / "state", [0.5, 3.5, 0.25])
    pull(tmp_path / "state", "--out", tmp_path / "out")
    pull(tmp_path / "state", "--out", tmp_path / "out")
    table = list(csv.DictReader((tmp_path / "out/scores.csv").read_text().splitlines()))
    assert [(row["camera"], row["model"], float(row["score"]), row["alarm"]) for row in table] == [
        ("door", "m:1:ab", 0.5, "0"),
        ("door", "m:1:ab", 3.5, "1"),
        ("door", "m:1:ab", 0.25, "0"),
    ]


def test_a_crop_is_told_from_the_whole_frame(tmp_path: Path) -> None:
    (event,) = make_box(tmp_path / "state", 1, whole=False)
    judge(tmp_path / "state", event, "false_alarm")
    (judged,) = search_folders([tmp_path / "state"]).events
    assert judged.whole == "no"


def test_from_a_usb_stick_and_from_uploads_beside_the_verdicts(tmp_path: Path) -> None:
    state, stick = tmp_path / "state", tmp_path / "stick"
    event, _ = make_box(state, 2)
    judge(state, event, "false_alarm")
    stick.mkdir()
    exported = CliRunner().invoke(feedback, ["export", str(state), "--out", str(stick / "box7.feedback.tar")])
    assert exported.exit_code == 0, exported.output
    pull(stick, "--out", tmp_path / "from-stick")
    pull(state, "--out", tmp_path / "direct")
    assert files(tmp_path / "from-stick") == files(tmp_path / "direct")
    uploads = tmp_path / "uploads/door"
    uploads.mkdir(parents=True)
    (state / f"door/evidence/{event.event}.jpg").rename(uploads / f"{event.event}.jpg")
    pull(state, uploads, "--out", tmp_path / "from-uploads")
    assert files(tmp_path / "from-uploads") == files(tmp_path / "direct")


def test_from_a_box_over_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / "state folder"
    (event,) = make_box(state, 1)
    judge(state, event, "false_alarm")
    ssh = tmp_path / "ssh"
    ssh.write_text('#!/bin/sh\nfor last; do :; done\necho "$@" >> "$0.log"\nexec sh -c "$last"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    pull("ssh://pi@box7:2222", "--state", state, "--out", tmp_path / "out")
    assert [row.event for row in read_table(tmp_path / "out")] == [event.event]
    called = (tmp_path / "ssh.log").read_text()
    assert "BatchMode=yes" in called
    assert "-p 2222 pi@box7" in called
    ssh.write_text("#!/bin/sh\necho 'no route to host' >&2\nexit 255\n")
    with pytest.raises(Problem, match="cannot be reached: no route"):
        pull("ssh://pi@box7", "--out", tmp_path / "none")
    ssh.write_text("#!/bin/sh\necho Welcome\n")
    with pytest.raises(ConfigProblem, match="not an archive"):
        pull("ssh://pi@box7", "--out", tmp_path / "none")
    assert not (tmp_path / "none").exists()
    ssh.write_text("#!/bin/sh\nexec cat /dev/zero\n")
    with pytest.raises(ConfigProblem):  # and it ends, although the box would send for ever
        pull("ssh://pi@box7", "--out", tmp_path / "none")


@pytest.mark.parametrize("source", ["ssh://-oProxyCommand=x", "ssh://pi:secret@box", "/no/such/folder", "."])
def test_sources_that_cannot_be_used(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Problem) as caught:
        pull(source, "--out", tmp_path / "out")
    assert caught.value.hint
    assert "secret" not in caught.value.message
    assert not (tmp_path / "out").exists()


def test_a_crash_between_pictures_and_table_leaves_the_old_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, out = tmp_path / "state", tmp_path / "out"
    first, second = make_box(state, 2)
    judge(state, first, "false_alarm")
    pull(state, "--out", out)
    judge(state, first, "right", time=2000.0)
    judge(state, second, "missed", time=2000.0)
    found = search_folders([state])
    with monkeypatch.context() as patch:
        patch.setattr("vedette.deploy.feedback.corrections_folder.render_table", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            merge_feedback(found, out)
    for row in read_table(out):
        assert hashlib.sha256((out / row.file).read_bytes()).hexdigest() == row.sha256
    assert merge_feedback(found, out).new == 1
    assert sorted(files(out)) == ["corrections.csv", f"missed/{second.event}.jpg", f"right/{first.event}.jpg"]


def test_a_hostile_archive_writes_nothing(tmp_path: Path) -> None:

    for name, kind in (("../../evil.jpg", tarfile.REGTYPE), ("feedback.json", tarfile.SYMTYPE), ("x", tarfile.REGTYPE)):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as archive:
            member = tarfile.TarInfo(name)
            member.type, member.size, member.linkname = kind, 2 if kind == tarfile.REGTYPE else 0, "/etc/passwd"
            archive.addfile(member, io.BytesIO(b"[]"))
        with pytest.raises(ConfigProblem):
            read_archive(io.BytesIO(file.getvalue()), "stick")
    events = [{"review": {"event": "../../x", "camera": "door", "verdict": "right"}, "day": "2026-11-29"}]
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        content = json.dumps(events).encode()
        member = tarfile.TarInfo("feedback.json")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    with pytest.raises(ConfigProblem):
        read_archive(io.BytesIO(file.getvalue()), "stick")


@pytest.mark.parametrize("file", ["../thesis.jpg", "/tmp/thesis.jpg", "right/../../thesis.jpg", "", "a\0b"])
def test_a_table_that_names_files_elsewhere_is_refused(tmp_path: Path, file: str) -> None:
    """It would have copied them into the folder, and removed them at the next verdict."""
    thesis = tmp_path / "thesis.jpg"
    thesis.write_bytes(b"mine")
    folder = tmp_path / "corrections"
    folder.mkdir()
    events = make_box(tmp_path / "state", 1)
    judged = Review(events[0].event, "door", "right", time=2e9)
    ReviewStore(tmp_path / "state" / "door").add(judged)
    row = [file, events[0].event, "door", "2026-11-29", "m", "1", "missed", "", "", "5", "yes", "00"]
    with open(folder / "corrections.csv", "w", newline="") as table:
        csv.writer(table).writerows([Correction.__struct_fields__, row])
    with pytest.raises(ConfigProblem, match="not below this folder"):
        merge_feedback(search_folders([tmp_path / "state"]), folder)
    assert thesis.read_bytes() == b"mine"
    assert list(folder.iterdir()) == [folder / "corrections.csv"]


@pytest.mark.parametrize("time", ["1e308", "-1e308", "inf", "nan", "0001-01-01T00:00:00", "1e17"])
def test_times_that_no_calendar_has_are_unknown(time: str) -> None:
    assert ScoreRow(time, "door", "m", 0.5, alarm=False).seconds is None


def test_a_score_is_finite_and_a_huge_field_ends_the_table(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("time,camera,model,score,alarm\n1,door,m,inf,0\n2,door,m,0.5,0\n3,door," + "x" * 200_000 + ",1,0\n")
    assert [row.time for row in read_scores(path)] == ["2"]


@pytest.mark.parametrize("event", ["ffffffff-ffff-ffff-ffff-ffffffffffff", "00000000-0000-7000-8000-000000000000"])
def test_the_day_of_any_event_is_a_day(event: str) -> None:
    assert day_of_event(event) == "1970-01-01"


def test_an_event_with_a_line_break_is_none(tmp_path: Path) -> None:
    event = "01a22670-1150-7362-b61a-5a6c5fbfc85f\n"
    (tmp_path / "reviews.jsonl").write_text(json.dumps({"event": event, "camera": "door", "verdict": "right"}))
    assert ReviewStore(tmp_path).latest() == {}
