"""Evidence: size limits, anonymization, retention, upload, and digests in events."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import cv2
import msgspec
import numpy as np
import pytest
from events import make_event
from object_store import ObjectStore

from vedette.runtime.camera.frame import Frame
from vedette.runtime.config.evidence_table import EvidenceSettings
from vedette.runtime.events.event import new_event_id
from vedette.runtime.evidence.anonymization import anonymize
from vedette.runtime.evidence.aws_sigv4 import SigningKey, sign_request
from vedette.runtime.evidence.clips import FrameRing, encode_clip
from vedette.runtime.evidence.recorder import EvidenceRecorder
from vedette.runtime.evidence.store import EvidenceStore
from vedette.runtime.evidence.thumbnail import encode_thumbnail
from vedette.runtime.evidence.upload import Uploader, public_object_url
from vedette.runtime.inference.prediction import Box, Prediction

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (480, 640, 3), np.uint8)


def decode_image(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def seen(*box, label="thing"):
    return (Prediction(label, 1.0, Box(*box) if box else None),)


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
@pytest.mark.parametrize("most", [2048, 8192, 65536])
def test_thumbnail_stays_within_its_byte_limit(kind, most):
    for pixels in (NOISE, NOISE[:7, :600], NOISE[:2, :2], np.zeros((1080, 1920, 3), np.uint8)):
        data = encode_thumbnail(pixels, (), 0.2, kind, most)
        assert len(data) <= most
        assert decode_image(data) is not None


def test_thumbnail_shows_the_box_with_a_margin():
    picture = np.full((400, 400, 3), 40, np.uint8)
    picture[100:200, 200:240] = 220
    found = decode_image(encode_thumbnail(picture, seen(0.5, 0.25, 0.6, 0.5), 0.1, "jpeg", 65536))
    assert found.shape == (120, 48, 3)
    assert found[20:100, 10:38].min() > 200
    assert found[:5].max() < 80
    for box in ((-1, -1, 2, 2), (0.999, 0.999, 1, 1), (1.5, 1.5, 2, 2), (0.5, 0.5, 0.5, 0.5)):
        assert decode_image(encode_thumbnail(picture, seen(*box), 0.1, "jpeg", 65536)) is not None


def test_people_are_pixelated():
    """At most 8 x 8 colors remain in a person's box; the rest is unchanged."""
    shown = anonymize(NOISE, seen(0.25, 0.25, 0.5, 0.75, label="person") + seen(0.8, 0.8, 0.9, 0.9), "people")
    box = shown[120:360, 160:320]
    assert len(np.unique(box.reshape(-1, 3), axis=0)) <= 64
    assert np.array_equal(shown[:60], NOISE[:60])
    assert np.array_equal(shown[384:432, 512:576], NOISE[384:432, 512:576])
    everywhere = anonymize(NOISE, seen(label="person"), "people")
    assert len(np.unique(everywhere.reshape(-1, 3), axis=0)) <= 24 * 24
    assert anonymize(NOISE, seen(0.1, 0.1, 0.2, 0.2), "people") is NOISE


def test_surroundings_are_pixelated():
    shown = anonymize(NOISE, seen(0.25, 0.25, 0.5, 0.75), "surroundings")
    assert np.array_equal(shown[120:360, 160:320], NOISE[120:360, 160:320])
    assert len(np.unique(shown[:110].reshape(-1, 3), axis=0)) <= 24 * 24


def test_frame_ring_is_bounded_in_time_and_bytes():
    ring = FrameRing(2.0, 1 << 20)
    for number in range(100):
        if ring.is_due(number / 30):
            ring.add(number / 30, NOISE)
        assert ring.bytes == sum(len(shot.jpeg) for shot in ring.frames) <= 1 << 20
    assert all(shot.moment >= 99 / 30 - 2.1 for shot in ring.frames)
    gaps = np.diff([shot.moment for shot in ring.frames])
    assert gaps.min() > 0.09


def test_clip_has_the_duration_of_its_frames():
    ring = FrameRing(4.0, 64 << 20)
    for number in range(50):
        picture = np.full((240, 320, 3), 5 * number, np.uint8)
        ring.add(number / 10, picture)
    path = Path(os.environ.get("TMPDIR", "/tmp"), f"clip-{os.getpid()}.mp4")
    path.write_bytes(encode_clip(ring.frames_between(1.0, 4.0)))
    capture = cv2.VideoCapture(str(path))
    levels = []
    while (read := capture.read())[0]:
        levels.append(read[1].mean())
    path.unlink()
    assert len(levels) == 31
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(10, rel=0.05)
    assert levels[0] == pytest.approx(50, abs=6)
    assert levels[-1] == pytest.approx(200, abs=6)


def file_names(folder):
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def test_oldest_file_is_evicted(tmp_path):
    shelf = EvidenceStore(tmp_path, 100_000, 30, uploads=False)
    for number in range(8):
        assert shelf.add(f"{number}.jpg", bytes(30_000))
        assert sum(path.stat().st_size for path in tmp_path.glob("*.jpg")) <= 100_000
    assert file_names(tmp_path) == ["5.jpg", "6.jpg", "7.jpg"]
    assert (shelf.counts.files, shelf.counts.bytes, shelf.counts.lost) == (3, 90_000, 0)
    assert not shelf.add("huge.jpg", bytes(200_000))
    assert shelf.counts.lost == 1
    assert file_names(tmp_path) == ["5.jpg", "6.jpg", "7.jpg"]


def test_pending_files_are_evicted_last_and_counted_as_lost(tmp_path):
    shelf = EvidenceStore(tmp_path, 100_000, 30, uploads=True)
    for number in range(3):
        shelf.add(f"{number}.jpg", bytes(30_000))
    shelf.mark_uploaded(tmp_path / "waiting" / "1.jpg")
    shelf.add("3.jpg", bytes(30_000))
    assert file_names(tmp_path) == []
    assert file_names(tmp_path / "waiting") == ["0.jpg", "2.jpg", "3.jpg"]
    assert shelf.counts.lost == 0
    shelf.add("4.jpg", bytes(30_000))
    assert file_names(tmp_path / "waiting") == ["2.jpg", "3.jpg", "4.jpg"]
    assert shelf.counts.lost == 1


def test_expired_files_are_deleted_after_a_restart_too(tmp_path):
    shelf = EvidenceStore(tmp_path, 1 << 20, 1.0, uploads=False)
    old, new, half = (f"{new_event_id()}{suffix}" for suffix in (".jpg", ".mp4", ".webp.part"))
    shelf.add(old, b"old")
    shelf.add(new, b"new")
    (tmp_path / half).write_bytes(b"ha")
    past = time.time() - 86400 * 1.5
    for name in (old, "holiday.jpg"):
        (tmp_path / name).write_bytes(b"old")
        os.utime(tmp_path / name, (past, past))
    again = EvidenceStore(tmp_path, 1 << 20, 1.0, uploads=False)
    assert file_names(tmp_path) == sorted([old, new, "holiday.jpg"])
    again.expire()
    assert file_names(tmp_path) == sorted([new, "holiday.jpg"]), "what is somebody else's is not touched"
    assert again.counts.bytes == 3


@pytest.mark.parametrize("step", [-3.2e8, 3.2e8])
def test_steps_of_the_wall_clock_delete_no_file(step, tmp_path, monkeypatch):
    """A wrong time server for an hour may not cost the evidence of a month; true age still counts."""
    names = [f"{new_event_id()}.jpg" for _ in range(3)]
    shelf = EvidenceStore(tmp_path, 1 << 20, 1.0, uploads=False)
    shelf.add(names[0], b"a")
    wall, boot, clocks = time.time, time.clock_gettime, {"wall": step, "boot": 0.0}
    monkeypatch.setattr(time, "time", lambda: wall() + clocks["wall"])
    monkeypatch.setattr(time, "clock_gettime", lambda which: boot(which) + clocks["boot"])
    shelf.add(names[1], b"b")
    shelf.expire()
    assert file_names(tmp_path) == sorted(names[:2])
    clocks.update(wall=0.0, boot=86400 * 0.6)
    shelf.add(names[2], b"c")
    clocks.update(boot=86400 * 1.2)
    shelf.expire()
    assert file_names(tmp_path) == [names[2]]


def test_clips_hold_the_same_frames_after_a_step_of_the_wall_clock():
    """The ring goes by moments: of 2 s before and after an event every frame is kept, though the clock went back."""
    kept = []
    for step in (0.0, -600.0, 3.2e8):
        recorder, clips = EvidenceRecorder(SimpleNamespace(evidence=EvidenceSettings(), camera="door"), None), []
        recorder.settings = EvidenceSettings(clip_seconds=4.0)
        recorder.store = SimpleNamespace(expire=lambda: None)
        recorder.ring = FrameRing(4.0, 64 << 20)
        recorder.clips = SimpleNamespace(enqueue=lambda _, frames, clips=clips: clips.append(frames))
        for number in range(80):
            moment = 50 + number / 10
            taken = 1.75e9 + moment + (step if number >= 35 else 0.0)
            recorder.add_frame(Frame("door", number, taken, NOISE, moment), ())
            if number == 30:
                event = msgspec.structs.replace(make_event(number), taken=taken, started=taken)
                recorder.attach(event)
        kept.append([[frame.moment for frame in clip] for clip in clips])
    assert len(kept[0]) == 1
    assert len(kept[0][0]) >= 40
    assert kept[1] == kept[2] == kept[0]


def test_without_uploads_no_file_stays_pending(tmp_path):
    name = f"{new_event_id()}.jpg"
    EvidenceStore(tmp_path, 1 << 20, 1.0, uploads=True).add(name, b"a")
    again = EvidenceStore(tmp_path, 1 << 20, 1.0, uploads=False)
    assert file_names(tmp_path) == [name]
    assert (again.counts.files, again.counts.waiting) == (1, 0)


def test_store_keeps_disk_space_free_for_events(tmp_path):
    disk = os.statvfs(tmp_path)
    shelf = EvidenceStore(tmp_path, 1 << 20, 1.0, uploads=False, min_free=2 * disk.f_bavail * disk.f_frsize)
    assert not shelf.add("a.jpg", b"a")
    assert "full" in shelf.counts.unwritable


@pytest.fixture
def store():
    made = ObjectStore()
    yield made
    made.close()


@pytest.mark.parametrize("way", ["failing", "forbidden", "stalled", "rude"])
def test_upload_is_retried_until_it_succeeds(way, store, tmp_path, wait_until):
    store.mode = way
    shelf = EvidenceStore(tmp_path, 1 << 20, 30, uploads=True)
    uploader = Uploader(shelf, store.url, "door", timeout=0.5)
    uploader.start()
    shelf.add("a.jpg", b"one")
    shelf.add("b.webp", b"two")
    uploader.wake()
    wait_until(lambda: shelf.counts.trouble, "the trouble")
    assert shelf.counts.waiting == 2
    store.mode = "good"
    wait_until(lambda: shelf.counts.waiting == 0, "both to be taken")
    assert store.files == {"/bucket/door/a.jpg": b"one", "/bucket/door/b.webp": b"two"}
    assert file_names(tmp_path) == ["a.jpg", "b.webp"]
    assert shelf.counts.trouble == ""
    uploader.close()
    uploader.join(5)
    assert not uploader.is_alive()


def test_rejected_file_does_not_block_others(store, tmp_path, wait_until):
    store.mode = "refused"
    shelf = EvidenceStore(tmp_path, 1 << 20, 30, uploads=True)
    uploader = Uploader(shelf, store.url, "door")
    shelf.add("a.jpg", b"one")
    uploader.start()
    wait_until(lambda: uploader.refused, "the refusal")
    store.mode = "good"
    shelf.add("b.jpg", b"two")
    uploader.wake()
    wait_until(lambda: store.files, "the other")
    assert file_names(tmp_path / "waiting") == ["a.jpg"]
    uploader.close()


KEY = SigningKey("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1")
EMPTY = hashlib.sha256(b"").hexdigest()
DATE = {"date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"}


@pytest.mark.parametrize(
    ("method", "rest", "headers", "digest", "signature"),
    [
        (
            "GET",
            "/test.txt",
            {"range": "bytes=0-9"},
            EMPTY,
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT",
            "/test$file.text",
            DATE,
            hashlib.sha256(b"Welcome to Amazon S3.").hexdigest(),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        ("GET", "/?lifecycle", {}, EMPTY, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        (
            "GET",
            "/?max-keys=2&prefix=J",
            {},
            EMPTY,
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)
def test_sigv4_matches_amazons_examples(method, rest, headers, digest, signature):
    """From "Signature Calculations for the Authorization Header: Transferring Payload in a Single Chunk"."""
    url = f"https://examplebucket.s3.amazonaws.com{rest}"
    found = sign_request(method, url, headers, digest, KEY, datetime(2013, 5, 24, tzinfo=UTC))
    assert found["authorization"].endswith(f"Signature={signature}")


def test_upload_signature_covers_the_sent_request(store, tmp_path, wait_until):
    shelf = EvidenceStore(tmp_path, 1 << 20, 30, uploads=True)
    uploader = Uploader(shelf, f"{store.url}/my box?x=1", "front door", KEY)
    shelf.add("a.jpg", b"one")
    uploader.start()
    wait_until(lambda: store.files, "the file")
    uploader.close()
    ((path, headers),) = store.requests
    headers = {name.lower(): value for name, value in headers.items()}
    when = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    url = f"http://{headers['host']}{path}"
    again = sign_request("PUT", url, {"content-type": "image/jpeg"}, hashlib.sha256(b"one").hexdigest(), KEY, when)
    assert headers["authorization"] == again["authorization"]
    assert path == "/bucket/my%20box/front%20door/a.jpg?x=1"


def test_object_url_contains_no_credentials():
    assert public_object_url("https://host/b?sig=s3cret", "door", "a.jpg") == "https://host/b/door/a.jpg"


def wait_for_exit(process, device):
    assert process.wait(60) == 0, device.log()
    output = process.stdout.read().decode()
    return [json.loads(each) for each in output.splitlines() if each.startswith("{")]


def test_evidence_is_off_by_default(daemon_process, line_images):
    daemon_process.configure(f"file:{line_images}?fps=0", "stdout:")
    events = wait_for_exit(daemon_process.start(), daemon_process)
    assert events
    assert all("evidence" not in event["data"] for event in events)
    assert not (daemon_process.folder / "state" / "door" / "evidence").exists()


def test_event_carries_digests_of_thumbnail_and_clip(daemon_process, line_images):
    daemon_process.configure(f"file:{line_images}?fps=0", "stdout:")
    zone = [[0, 0], [1, 0], [1, 0.5], [0, 0.5]]
    daemon_process.append(f"[privacy]\nzones = {json.dumps([zone])}")
    daemon_process.append('[evidence]\nthumbnail = "jpeg"\nmax_bytes = 4096\nmargin = 0.5\nclip_seconds = 2.0')
    events = wait_for_exit(daemon_process.start(), daemon_process)
    began = [event["data"] for event in events if event["data"].get("kind") == "new"]
    assert began
    for data in began:
        found = data["evidence"]
        content = Path(unquote(urlsplit(found["link"]).path)).read_bytes()
        assert hashlib.sha256(content).hexdigest() == found["sha256"]
        assert len(content) == found["bytes"] <= 4096
        assert found["type"] == "image/jpeg"
    clips = {each["data"]["event"]: each["data"] for each in events if each["type"] == "vedette.evidence.clip"}
    assert set(clips) == {data["event"] for data in began}
    for found in clips.values():
        path = Path(unquote(urlsplit(found["link"]).path))
        assert hashlib.sha256(path.read_bytes()).hexdigest() == found["sha256"]
        capture = cv2.VideoCapture(str(path))
        frames = []
        while (read := capture.read())[0]:
            frames.append(read[1])
        assert len(frames) >= 5
        assert max(int(each[:56].max()) for each in frames) < 24, "black, but for what compression leaves"
        assert frames[0][70:].mean() > 60
    assert all("evidence" not in event["data"] for event in events if event["data"].get("kind") == "end")


def test_uploads_survive_an_outage_and_a_kill(daemon_process, line_images, store, wait_until, call_vedette):
    store.mode = "failing"
    daemon_process.configure(f"file:{line_images}?fps=20&loop=true", "mqtt://127.0.0.1:1")
    daemon_process.append(f'[evidence]\nthumbnail = "webp"\nurl = "{store.url}"')
    process = daemon_process.start()
    wait_until(lambda: daemon_process.recorded() >= 6, "events")
    (report,) = json.loads(call_vedette("status", "door", "--config", daemon_process.folder, "--json").stdout)
    assert report["evidence"]["waiting"] >= 3
    assert "503" in report["evidence"]["trouble"]
    assert "evidence waits for its store" in report["faults"]
    process.send_signal(signal.SIGKILL)
    process.wait()
    folder = daemon_process.folder / "state" / "door" / "evidence"
    waiting = {path.name: path.read_bytes() for path in (folder / "waiting").iterdir() if path.suffix != ".part"}
    store.mode = "good"
    daemon_process.configure(f"file:{line_images}?fps=1", "mqtt://127.0.0.1:1")
    daemon_process.append(f'[evidence]\nthumbnail = "webp"\nurl = "{store.url}"')
    daemon_process.start()
    wait_until(lambda: len(store.files) >= len(waiting), "what waited")
    for name, content in waiting.items():
        assert store.files[f"/bucket/door/{name}"] == content


def test_events_are_sent_without_evidence_if_writing_fails(daemon_process, line_images, tmp_path):
    (tmp_path / "blocked").write_text("a file where the folder should be")
    daemon_process.configure(f"file:{line_images}?fps=0", "stdout:")
    daemon_process.append(f'[evidence]\nthumbnail = "jpeg"\nfolder = "{tmp_path}/blocked"')
    events = wait_for_exit(daemon_process.start(), daemon_process)
    assert len(events) >= 10
    assert all("evidence" not in event["data"] for event in events)
    assert daemon_process.log().count("events have no evidence") == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('thumbnail = "gif"', "thumbnail"),
        ('url = "ftp://host/x"', "https://host/bucket"),
        ('url = "https://me:s3cret@host/x"', "access_key"),
        ('access_key = "AK"', "go together"),
        ("days = 0", "days"),
        ('access_key = "AK"\nsecret_key_file = "nowhere"\nurl = "https://h/b"\nthumbnail = "jpeg"', "nowhere"),
    ],
)
def test_invalid_setting_is_reported(text, said, daemon_process, run_vedette, line_images):
    daemon_process.configure(f"file:{line_images}?fps=0", "stdout:")
    daemon_process.append(f"[evidence]\n{text}")
    done = run_vedette("run", "door", "--config", daemon_process.folder)
    assert done.returncode == 2
    assert said in done.stderr
    assert "s3cret" not in done.stderr
    assert re.search("remedy: .+", done.stderr)
