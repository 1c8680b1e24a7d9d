"""Privacy zones follow a camera that was moved a little; otherwise no picture is shown."""

from __future__ import annotations

import json
import threading

import cv2
import numpy as np
import pytest
from camera import Camera
from moved_room import FAR, HEIGHT, NEAR, WIDTH, ZONES, shows_private, view

from vedette.runtime.camera.capture.privacy_mask import PrivacyMask, rasterize_zones
from vedette.runtime.camera.frame import Frame
from vedette.runtime.camera.stored_view import forget_views
from vedette.runtime.camera.view_guard import (
    CHECK_SECONDS,
    LOST_FAULT,
    MOVED_FAULT,
    TELL_SECONDS,
    UNSETTLED_SECONDS,
    ViewGuard,
)
from vedette.runtime.live.frame_reader import LiveFrameReader
from vedette.runtime.monitoring.status import request_status


class Watched:
    """A guard and a clock."""

    def __init__(self, folder, zones=ZONES):
        self.guard, self.mask, self.moment, self.number = ViewGuard(zones, folder), PrivacyMask(zones), 0.0, 0

    def show(self, pixels, seconds=0.1):
        self.moment, self.number = self.moment + seconds, self.number + 1
        masked = self.mask(pixels.copy())
        masked.flags.writeable = False
        return self.guard.look(Frame("door", self.number, self.moment, masked))

    def settle(self, pixels):
        for _ in range(4):
            frame = self.show(pixels, UNSETTLED_SECONDS)
        return frame

    def tell(self):
        first = list(self.guard.tell(self.moment))
        assert not first, "it is told only if it lasts"
        return list(self.guard.tell(self.moment + TELL_SECONDS))


def test_guard_hides_until_the_view_is_stored_and_then_from_the_first_picture_of_a_knock(tmp_path):
    watched = Watched(tmp_path)
    first = watched.show(view())
    assert first.hidden
    assert not first.shown.any()
    assert not watched.settle(view(1)).hidden
    (stored,) = tmp_path.iterdir()
    assert stored.stat().st_mode & 0o077 == 0
    picture = cv2.imread(str(stored), cv2.IMREAD_GRAYSCALE)
    assert not picture[rasterize_zones(ZONES, *picture.shape)].any(), "nothing private is stored"

    knocked = watched.show(view(2, FAR), 0.05)
    assert knocked.hidden
    assert not knocked.shown.any()
    assert knocked.pixels.any(), "the model goes on"
    assert watched.tell() == [("view_lost", {"reason": watched.guard.reason})]
    assert watched.guard.faults() == {MOVED_FAULT: False, LOST_FAULT: True}

    assert not watched.show(view(3), CHECK_SECONDS).hidden, "the view is back"
    ((kind, facts),) = watched.tell()
    assert (kind, facts["from"]) == ("view_back", "view_lost")
    assert watched.guard.faults() == {MOVED_FAULT: False, LOST_FAULT: False}


def test_guard_follows_and_tells_how_far(tmp_path):
    watched = Watched(tmp_path)
    watched.settle(view())
    frame = watched.show(view(1, NEAR), CHECK_SECONDS)
    assert not frame.hidden
    assert not shows_private(frame.pixels)
    assert not frame.pixels.flags.writeable
    ((kind, facts),) = watched.tell()
    assert kind == "view_moved"
    assert facts["right"] == pytest.approx(12 / WIDTH, abs=0.005)
    assert facts["down"] == pytest.approx(-8 / WIDTH, abs=0.005)
    assert facts["scale"] == pytest.approx(1, abs=0.01)
    assert watched.guard.faults() == {MOVED_FAULT: True, LOST_FAULT: False}


def test_zones_follow_a_faint_move_untold(tmp_path):
    watched = Watched(tmp_path)
    watched.settle(view())
    frame = watched.show(view(1, np.float32([[1, 0, 1.2], [0, 1, 0]])), CHECK_SECONDS)
    assert not frame.hidden
    assert watched.guard.position == "still"
    beside = frame.pixels[80:140, 176:179]  # right of the zone
    assert not beside.any()
    assert not watched.guard.faults()[MOVED_FAULT]


def test_view_outlasts_a_restart_and_a_person_confirms_another(tmp_path):
    Watched(tmp_path).settle(view())
    restarted = Watched(tmp_path)
    assert not restarted.show(view(1)).hidden
    assert Watched(tmp_path).show(view(1, FAR)).hidden, "a camera that was moved while nothing ran"

    assert restarted.show(view(2, FAR)).hidden
    assert forget_views(tmp_path)
    assert not restarted.settle(view(3, FAR)).hidden
    assert not forget_views(tmp_path / "none")


def test_other_zones_get_a_view_of_their_own(tmp_path):
    Watched(tmp_path).settle(view())
    others = (((0.1, 0.1), (0.4, 0.1), (0.4, 0.4)),)
    assert not Watched(tmp_path, others).settle(view(1, FAR)).hidden
    assert len(list(tmp_path.iterdir())) == 1


def test_what_cannot_be_watched_is_hidden(tmp_path):
    plain = Watched(tmp_path / "plain")
    assert plain.settle(np.full((HEIGHT, WIDTH, 3), 90, np.uint8)).hidden
    assert "outlines" in plain.guard.reason
    changing = Watched(tmp_path / "changing")
    assert all(changing.show(view(1, seed=seed), 1.0).hidden for seed in range(4)), "each picture shows something else"
    assert Watched(tmp_path / "all", (((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)),)).settle(view()).hidden

    damaged = Watched(tmp_path)
    damaged.settle(view())
    damaged.guard.stored.path.write_bytes(b"\x89PNG")
    again = Watched(tmp_path)
    assert again.settle(view(1)).hidden
    assert "masks confirm" in again.guard.reason

    file = tmp_path / "file"
    file.write_text("")
    closed = Watched(file)
    assert closed.settle(view()).hidden, "the state folder cannot be written"
    assert Watched(tmp_path / "strip").settle(view()[:1]).hidden, "one row of a line scan camera"
    other_shape = Watched(tmp_path / "shape")
    other_shape.settle(view())
    assert other_shape.show(view()[:180], CHECK_SECONDS).hidden


def test_verb_confirms(daemon_process, call_vedette):
    daemon_process.configure("v4l2:/dev/video0", "stdout:")
    told = call_vedette("masks", "confirm", "door", "--config", daemon_process.folder)
    assert told.returncode == 2
    assert "no privacy masks" in told.stderr
    daemon_process.append(f"[privacy]\nzones = {json.dumps(ZONES)}")
    folder = daemon_process.folder / "state" / "door"
    told = call_vedette("masks", "confirm", "door", "--config", daemon_process.folder)
    assert (told.returncode, "no view is stored" in told.stdout) == (0, True)
    Watched(folder).settle(view())
    told = call_vedette("masks", "confirm", "door", "--config", daemon_process.folder)
    assert (told.returncode, list(folder.iterdir())) == (0, [])


def test_daemon_shows_nothing_private_while_its_camera_looks_elsewhere(daemon_process, wait_until):
    """The live pictures of the real daemon, of a camera that is knocked and put back."""
    moves = {"move": None}
    camera = Camera(picture=lambda number: view(number, moves["move"]), fps=5)
    daemon_process.configure(camera.url, "mqtt://127.0.0.1:1", "threshold = 0.0")
    daemon_process.append(f"[privacy]\nzones = {json.dumps(ZONES)}")
    daemon_process.start()
    folder = daemon_process.folder / "state" / "door"
    seen = []
    stop = threading.Event()

    def read():
        with LiveFrameReader(folder) as reader:
            while not stop.is_set():
                if (frame := reader.read(0.3)) is not None:
                    seen.append(frame.pixels.copy())

    thread = threading.Thread(target=read)
    thread.start()
    try:
        wait_until(lambda: seen and seen[-1].any(), "a picture", 60)
        moves["move"] = FAR
        wait_until(lambda: not seen[-1].any(), "hidden pictures", 60)
        wait_until(lambda: LOST_FAULT in request_status(folder).faults, "the fault", 60)
        moves["move"] = None
        wait_until(lambda: bool(seen[-1].any()), "the view again", 60)
    finally:
        stop.set()
        thread.join()
        camera.close()
    assert not any(shows_private(each, 60) for each in seen)
