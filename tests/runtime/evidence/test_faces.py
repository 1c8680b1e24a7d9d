"""Faces are hidden in every picture that is stored, and without a working detector none is stored."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from events import make_event

from vedette.runtime.camera.frame import Frame
from vedette.runtime.config.camera_tables import PrivacySettings
from vedette.runtime.config.evidence_table import EvidenceSettings
from vedette.runtime.errors import MachineProblem
from vedette.runtime.evidence import faces
from vedette.runtime.evidence.clips import FrameRing, encode_clip
from vedette.runtime.evidence.face_guard import FaceGuard, cover_faces, open_face_guard
from vedette.runtime.evidence.faces import FaceFinder, squares_of
from vedette.runtime.evidence.recorder import EvidenceRecorder
from vedette.runtime.inference.prediction import Box

PEOPLE, THINGS = (SimpleNamespace(labels=labels, task="detect") for labels in (("person", "car"), ("car",)))


def draw_face(side=400):
    """A gray picture with a drawn face in the middle, and the box of the face."""
    picture = np.full((side, side, 3), 110, np.uint8)
    middle, radius = side // 2, side // 6
    cv2.ellipse(picture, (middle, middle), (radius, round(radius * 1.3)), 0, 0, 360, (150, 180, 220), -1)
    cv2.ellipse(picture, (middle, middle - radius), (round(radius * 1.05), radius // 2), 0, 180, 360, (30, 40, 60), -1)
    for eye in (-1, 1):
        x, y = middle + eye * round(radius * 0.4), middle - round(radius * 0.2)
        cv2.ellipse(picture, (x, y), (radius // 5, radius // 9), 0, 0, 360, (250, 250, 250), -1)
        cv2.circle(picture, (x, y), radius // 9, (40, 30, 20), -1)
        cv2.line(picture, (x - radius // 4, y - radius // 4), (x + radius // 4, y - radius // 4), (40, 50, 70), 3)
    cv2.line(picture, (middle, middle - radius // 8), (middle - radius // 10, middle + radius // 4), (110, 140, 180), 3)
    mouth = middle, middle + round(radius * 0.6)
    cv2.ellipse(picture, mouth, (radius // 3, radius // 9), 0, 0, 360, (90, 90, 190), -1)
    picture = cv2.GaussianBlur(picture, (5, 5), 1.2)
    return picture, (slice(middle - radius, middle + radius), slice(middle - radius // 2, middle + radius // 2))


FACE, PLACE = draw_face()


def count_colors(pixels):
    return len(np.unique(pixels.reshape(-1, 3), axis=0))


def test_face_is_unrecognizable_and_the_rest_unchanged():
    hidden = FaceGuard().hide(FACE)
    assert count_colors(hidden[PLACE]) < count_colors(FACE[PLACE]) / 5
    assert np.array_equal(hidden[:40], FACE[:40])
    blank = np.full((120, 160, 3), 90, np.uint8)
    assert FaceGuard().hide(blank) is blank


def test_small_face_in_a_wide_frame_is_found():
    small, wide = cv2.resize(FACE, (150, 150), interpolation=cv2.INTER_AREA), np.full((360, 1280, 3), 110, np.uint8)
    wide[150:300, 900:1050] = small
    found = FaceFinder().find(wide)
    assert any(0.7 < (box.left + box.right) / 2 < 0.82 and 0.42 < (box.top + box.bottom) / 2 < 0.85 for box in found)


@pytest.mark.parametrize(
    ("mode", "manifest", "hides"),
    [("auto", PEOPLE, True), ("auto", THINGS, False), ("hide", THINGS, True), ("show", PEOPLE, False)],
)
def test_faces_are_hidden_by_default_where_the_bundle_is_about_people(mode, manifest, hides):
    config = SimpleNamespace(privacy=PrivacySettings(faces=mode), evidence=EvidenceSettings(thumbnail="jpeg"))
    assert (open_face_guard(config, [THINGS, manifest]) is not None) == hides
    config.evidence = EvidenceSettings()
    assert open_face_guard(config, [THINGS, manifest]) is None


def record(tmp_path, settings, frames=1):
    """The recorder after some frames with a face, each with an event, and the events that it returned."""
    config = SimpleNamespace(evidence=settings, privacy=PrivacySettings(), camera="door", state_folder=tmp_path)
    config.outbox = SimpleNamespace(min_free=0)
    recorder, sent = EvidenceRecorder(config, SimpleNamespace(put_system_event=lambda *_: None), [PEOPLE]), []
    recorder.start()
    for number in range(frames):
        event = make_event(number)
        recorder.add_frame(Frame("door", event.frame, event.taken, FACE, number / 10), event.predictions)
        sent.append(recorder.attach(event))
    recorder.close()
    return recorder, sent


def stored(tmp_path):
    return sorted(path for path in (tmp_path / "evidence").rglob("*") if path.suffix in (".jpg", ".mp4"))


def test_stored_thumbnail_shows_no_face(tmp_path):
    settings = EvidenceSettings(thumbnail="jpeg", whole_frame=True, max_bytes=200_000)
    recorder, (event,) = record(tmp_path, settings)
    (path,) = stored(tmp_path)
    assert event.evidence is not None
    assert recorder.faults()["faces cannot be hidden, so no picture is stored"] is False
    assert np.abs(cv2.imread(str(path)).astype(int)[PLACE] - FACE.astype(int)[PLACE]).mean() > 8


@pytest.mark.parametrize("broken", ["no library", "no model", "damaged model", "fails later"])
def test_without_a_detector_no_picture_is_stored(broken, tmp_path, monkeypatch):
    if broken == "no library":

        def refuse():
            raise MachineProblem("neither LiteRT nor tflite-runtime is installed")

        monkeypatch.setattr(faces, "load_interpreter", refuse)
    elif broken == "fails later":
        monkeypatch.setattr(FaceFinder, "find", lambda *_: (_ for _ in ()).throw(RuntimeError("out of memory")))
    else:
        model = tmp_path / "model.tflite"
        if broken == "damaged model":
            model.write_bytes(b"TFL3" + bytes(300))
        monkeypatch.setattr(FaceFinder.__init__, "__defaults__", (Path(model),))
    recorder, sent = record(tmp_path, EvidenceSettings(thumbnail="jpeg", clip_seconds=1.0), frames=12)
    assert stored(tmp_path) == []
    assert all(event.evidence is None for event in sent)
    assert recorder.faults()["faces cannot be hidden, so no picture is stored"] is True


def test_clip_shows_no_face_even_if_a_frame_is_missed(monkeypatch):
    ring = FrameRing(4.0, 64 << 20)
    for number in range(9):
        ring.add(number / 10, FACE)
    find, asked = FaceFinder.find, []

    def miss_some(self, pixels, closely=True):
        asked.append(closely)
        return [] if len(asked) in (3, 7) else find(self, pixels, closely)

    monkeypatch.setattr(FaceFinder, "find", miss_some)
    hidden = FaceGuard().hide_in_clip([FACE] * 9)
    assert all(count_colors(each[PLACE]) < count_colors(FACE[PLACE]) / 5 for each in hidden)
    assert encode_clip(ring.frames_between(0.0, 1.0), FaceGuard())


def test_squares_cover_the_frame():
    for width, height in ((640, 480), (480, 640), (1920, 1080), (100, 100), (3000, 200)):
        seen = np.zeros((height, width), bool)
        for left, top, right, bottom in squares_of(width, height, closely=False):
            assert 0 <= left < right <= width
            assert 0 <= top < bottom <= height
            seen[top:bottom, left:right] = True
        assert seen.all()


def test_faces_at_the_edge_are_covered():
    noise = np.random.default_rng(0).integers(0, 256, (100, 100, 3)).astype(np.uint8)
    hidden = cover_faces(noise, [Box(-0.2, 0.9, 0.2, 1.4)])
    assert count_colors(hidden[90:, :20]) <= 16
    assert np.array_equal(hidden[:50], noise[:50])
