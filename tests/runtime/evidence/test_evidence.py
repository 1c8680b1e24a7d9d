"""Evidence: bounded pictures and clips that their events vouch for, kept for a while, uploaded until they are taken."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

import cv2
import numpy as np
import pytest
from object_store import Store

from vedette.runtime.events.event import new_id
from vedette.runtime.evidence.anonymization import hidden
from vedette.runtime.evidence.aws_sigv4 import Key, signed
from vedette.runtime.evidence.clips import Ring, encoded
from vedette.runtime.evidence.store import Shelf
from vedette.runtime.evidence.thumbnail import thumbnail
from vedette.runtime.evidence.upload import Uploader, link
from vedette.runtime.inference.prediction import Box, Prediction

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (480, 640, 3), np.uint8)


def decoded(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def seen(*box, label="thing"):
    return (Prediction(label, 1.0, Box(*box) if box else None),)


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
@pytest.mark.parametrize("most", [2048, 8192, 65536])
def test_a_thumbnail_is_bounded_whatever_it_shows(kind, most):
    for pixels in (NOISE, NOISE[:7, :600], NOISE[:2, :2], np.zeros((1080, 1920, 3), np.uint8)):
        data = thumbnail(pixels, (), 0.2, kind, most)
        assert len(data) <= most
        assert decoded(data) is not None


def test_a_thumbnail_shows_the_box_and_a_little_around():
    picture = np.full((400, 400, 3), 40, np.uint8)
    picture[100:200, 200:240] = 220
    found = decoded(thumbnail(picture, seen(0.5, 0.25, 0.6, 0.5), 0.1, "jpeg", 65536))
    assert found.shape == (120, 48, 3)
    assert found[20:100, 10:38].min() > 200
    assert found[:5].max() < 80
    for box in ((-1, -1, 2, 2), (0.999, 0.999, 1, 1), (1.5, 1.5, 2, 2), (0.5, 0.5, 0.5, 0.5)):
        assert decoded(thumbnail(picture, seen(*box), 0.1, "jpeg", 65536)) is not None


def test_people_cannot_be_recognised():
    """No more than 8 x 8 colours are left of where a person is; the rest is as it was."""
    shown = hidden(NOISE, seen(0.25, 0.25, 0.5, 0.75, label="person") + seen(0.8, 0.8, 0.9, 0.9), "people")
    box = shown[120:360, 160:320]
    assert len(np.unique(box.reshape(-1, 3), axis=0)) <= 64
    assert np.array_equal(shown[:60], NOISE[:60])
    assert np.array_equal(shown[384:432, 512:576], NOISE[384:432, 512:576])
    everywhere = hidden(NOISE, seen(label="person"), "people")
    assert len(np.unique(everywhere.reshape(-1, 3), axis=0)) <= 24 * 24
    assert hidden(NOISE, seen(0.1, 0.1, 0.2, 0.2), "people") is NOISE


def test_surroundings_cannot_be_recognised():
    shown = hidden(NOISE, seen(0.25, 0.25, 0.5, 0.75), "surroundings")
    assert np.array_equal(shown[120:360, 160:320], NOISE[120:360, 160:320])
    assert len(np.unique(shown[:110].reshape(-1, 3), axis=0)) <= 24 * 24


def test_the_ring_is_bounded_in_time_and_bytes():
    ring = Ring(2.0, 1 << 20)
    for number in range(100):
        if ring.wants(number / 30):
            ring.add(number / 30, NOISE)
        assert ring.bytes == sum(len(shot.jpeg) for shot in ring.shots) <= 1 << 20
    assert all(shot.taken >= 99 / 30 - 2.1 for shot in ring.shots)
    gaps = np.diff([shot.taken for shot in ring.shots])
    assert gaps.min() > 0.09


def test_a_clip_plays_as_long_as_it_lasted():
    ring = Ring(4.0, 64 << 20)
    for number in range(50):
        picture = np.full((240, 320, 3), 5 * number, np.uint8)
        ring.add(number / 10, picture)
    path = Path(os.environ.get("TMPDIR", "/tmp"), f"clip-{os.getpid()}.mp4")
    path.write_bytes(encoded(ring.between(1.0, 4.0)))
    capture = cv2.VideoCapture(str(path))
    levels = []
    while (read := capture.read())[0]:
        levels.append(read[1].mean())
    path.unlink()
    assert len(levels) == 31
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(10, rel=0.05)
    assert levels[0] == pytest.approx(50, abs=6)
    assert levels[-1] == pytest.approx(200, abs=6)


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def test_the_oldest_gives_way(tmp_path):
    shelf = Shelf(tmp_path, 100_000, 30, uploads=False)
    for number in range(8):
        assert shelf.keep(f"{number}.jpg", bytes(30_000))
        assert sum(path.stat().st_size for path in tmp_path.glob("*.jpg")) <= 100_000
    assert names(tmp_path) == ["5.jpg", "6.jpg", "7.jpg"]
    assert (shelf.tally.files, shelf.tally.bytes, shelf.tally.lost) == (3, 90_000, 0)
    assert not shelf.keep("huge.jpg", bytes(200_000))
    assert shelf.tally.lost == 1
    assert names(tmp_path) == ["5.jpg", "6.jpg", "7.jpg"]


def test_what_waits_gives_way_last_and_is_counted(tmp_path):
    shelf = Shelf(tmp_path, 100_000, 30, uploads=True)
    for number in range(3):
        shelf.keep(f"{number}.jpg", bytes(30_000))
    shelf.uploaded(tmp_path / "waiting" / "1.jpg")
    shelf.keep("3.jpg", bytes(30_000))
    assert names(tmp_path) == []
    assert names(tmp_path / "waiting") == ["0.jpg", "2.jpg", "3.jpg"]
    assert shelf.tally.lost == 0
    shelf.keep("4.jpg", bytes(30_000))
    assert names(tmp_path / "waiting") == ["2.jpg", "3.jpg", "4.jpg"]
    assert shelf.tally.lost == 1


def test_what_is_too_old_goes_even_after_a_restart(tmp_path):
    shelf = Shelf(tmp_path, 1 << 20, 1.0, uploads=False)
    old, new, half = (f"{new_id()}{suffix}" for suffix in (".jpg", ".mp4", ".webp.part"))
    shelf.keep(old, b"old")
    shelf.keep(new, b"new")
    (tmp_path / half).write_bytes(b"ha")
    past = time.time() - 86400 * 1.5
    for name in (old, "holiday.jpg"):
        (tmp_path / name).write_bytes(b"old")
        os.utime(tmp_path / name, (past, past))
    again = Shelf(tmp_path, 1 << 20, 1.0, uploads=False)
    assert names(tmp_path) == sorted([old, new, "holiday.jpg"])
    again.expire()
    assert names(tmp_path) == sorted([new, "holiday.jpg"]), "what is somebody else's is not touched"
    assert again.tally.bytes == 3


def test_where_nothing_is_uploaded_any_more_nothing_waits(tmp_path):
    name = f"{new_id()}.jpg"
    Shelf(tmp_path, 1 << 20, 1.0, uploads=True).keep(name, b"a")
    again = Shelf(tmp_path, 1 << 20, 1.0, uploads=False)
    assert names(tmp_path) == [name]
    assert (again.tally.files, again.tally.waiting) == (1, 0)


def test_room_for_events_is_left_on_the_disk(tmp_path):
    disk = os.statvfs(tmp_path)
    shelf = Shelf(tmp_path, 1 << 20, 1.0, uploads=False, min_free=2 * disk.f_bavail * disk.f_frsize)
    assert not shelf.keep("a.jpg", b"a")
    assert "full" in shelf.tally.unwritable


@pytest.fixture
def store():
    made = Store()
    yield made
    made.close()


@pytest.mark.parametrize("way", ["failing", "forbidden", "stalled", "rude"])
def test_a_store_in_trouble_is_tried_until_it_takes(way, store, tmp_path, eventually):
    store.way = way
    shelf = Shelf(tmp_path, 1 << 20, 30, uploads=True)
    uploader = Uploader(shelf, store.url, "door", timeout=0.5)
    uploader.start()
    shelf.keep("a.jpg", b"one")
    shelf.keep("b.webp", b"two")
    uploader.wake()
    eventually(lambda: shelf.tally.trouble, "the trouble")
    assert shelf.tally.waiting == 2
    store.way = "good"
    eventually(lambda: shelf.tally.waiting == 0, "both to be taken")
    assert store.files == {"/bucket/door/a.jpg": b"one", "/bucket/door/b.webp": b"two"}
    assert names(tmp_path) == ["a.jpg", "b.webp"]
    assert shelf.tally.trouble == ""
    uploader.close()
    uploader.join(5)
    assert not uploader.is_alive()


def test_what_is_refused_for_itself_holds_up_nothing(store, tmp_path, eventually):
    store.way = "refused"
    shelf = Shelf(tmp_path, 1 << 20, 30, uploads=True)
    uploader = Uploader(shelf, store.url, "door")
    shelf.keep("a.jpg", b"one")
    uploader.start()
    eventually(lambda: uploader.refused, "the refusal")
    store.way = "good"
    shelf.keep("b.jpg", b"two")
    uploader.wake()
    eventually(lambda: store.files, "the other")
    assert names(tmp_path / "waiting") == ["a.jpg"]
    uploader.close()


KEY = Key("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1")
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
def test_amazons_own_examples(method, rest, headers, digest, signature):
    """Of "Signature Calculations for the Authorization Header: Transferring Payload in a Single Chunk"."""
    url = f"https://examplebucket.s3.amazonaws.com{rest}"
    found = signed(method, url, headers, digest, KEY, datetime(2013, 5, 24, tzinfo=UTC))
    assert found["authorization"].endswith(f"Signature={signature}")


def test_an_upload_is_signed_over_what_is_sent(store, tmp_path, eventually):
    shelf = Shelf(tmp_path, 1 << 20, 30, uploads=True)
    uploader = Uploader(shelf, f"{store.url}/my box?x=1", "front door", KEY)
    shelf.keep("a.jpg", b"one")
    uploader.start()
    eventually(lambda: store.files, "the file")
    uploader.close()
    ((path, headers),) = store.asked
    headers = {name.lower(): value for name, value in headers.items()}
    when = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    url = f"http://{headers['host']}{path}"
    again = signed("PUT", url, {"content-type": "image/jpeg"}, hashlib.sha256(b"one").hexdigest(), KEY, when)
    assert headers["authorization"] == again["authorization"]
    assert path == "/bucket/my%20box/front%20door/a.jpg?x=1"


def test_a_link_lets_nobody_in():
    assert link("https://host/b?sig=s3cret", "door", "a.jpg") == "https://host/b/door/a.jpg"


def amend(device, text):
    path = device.folder / "cameras" / "door.toml"
    path.write_text(f"{path.read_text()}{text}\n")
    return path


def ended(process, device):
    assert process.wait(60) == 0, device.log()
    output = process.stdout.read().decode()
    return [json.loads(each) for each in output.splitlines() if each.startswith("{")]


def test_off_by_default(device, line):
    device.configure(f"file:{line}?fps=0", "stdout:")
    events = ended(device.start(), device)
    assert events
    assert all("evidence" not in event["data"] for event in events)
    assert not (device.folder / "state" / "door" / "evidence").exists()


def test_an_event_vouches_for_its_thumbnail_and_its_clip(device, line):
    device.configure(f"file:{line}?fps=0", "stdout:")
    zone = [[0, 0], [1, 0], [1, 0.5], [0, 0.5]]
    amend(device, f"[privacy]\nzones = {json.dumps([zone])}\n")
    amend(device, '[evidence]\nthumbnail = "jpeg"\nmax_bytes = 4096\nmargin = 0.5\nclip_seconds = 2.0\n')
    events = ended(device.start(), device)
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


def test_uploads_outlast_a_dead_store_and_a_kill(device, line, store, eventually, vedette):
    store.way = "failing"
    device.configure(f"file:{line}?fps=20&loop=true", "mqtt://127.0.0.1:1")
    amend(device, f'[evidence]\nthumbnail = "webp"\nurl = "{store.url}"\n')
    process = device.start()
    eventually(lambda: device.recorded() >= 6, "events")
    (report,) = json.loads(vedette("status", "door", "--config", device.folder, "--json").stdout)
    assert report["evidence"]["waiting"] >= 3
    assert "503" in report["evidence"]["trouble"]
    assert "evidence waits for its store" in report["faults"]
    process.send_signal(signal.SIGKILL)
    process.wait()
    folder = device.folder / "state" / "door" / "evidence"
    waiting = {path.name: path.read_bytes() for path in (folder / "waiting").glob("*.webp")}
    store.way = "good"
    device.configure(f"file:{line}?fps=1", "mqtt://127.0.0.1:1")
    amend(device, f'[evidence]\nthumbnail = "webp"\nurl = "{store.url}"\n')
    device.start()
    eventually(lambda: len(store.files) >= len(waiting), "what waited")
    for name, content in waiting.items():
        assert store.files[f"/bucket/door/{name}"] == content


def test_events_go_without_where_nothing_can_be_written(device, line, tmp_path):
    (tmp_path / "blocked").write_text("a file where the folder should be")
    device.configure(f"file:{line}?fps=0", "stdout:")
    amend(device, f'[evidence]\nthumbnail = "jpeg"\nfolder = "{tmp_path}/blocked"\n')
    events = ended(device.start(), device)
    assert len(events) >= 10
    assert all("evidence" not in event["data"] for event in events)
    assert device.log().count("events go without evidence") == 1


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
def test_a_wrong_setting_is_told(text, said, device, vedette, line):
    device.configure(f"file:{line}?fps=0", "stdout:")
    amend(device, f"[evidence]\n{text}\n")
    done = vedette("run", "door", "--config", device.folder)
    assert done.returncode == 2
    assert said in done.stderr
    assert "s3cret" not in done.stderr
    assert re.search("remedy: .+", done.stderr)
