"""Evidence of frames that nobody may see, because the privacy zones may not lie where they should."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from events import make_event

from vedette.runtime.camera.frame import Frame
from vedette.runtime.config.camera_tables import PrivacySettings
from vedette.runtime.config.evidence_table import EvidenceSettings
from vedette.runtime.evidence.recorder import EvidenceRecorder


@pytest.mark.parametrize("hidden", [True, False])
def test_hidden_frame_leaves_no_picture(hidden, tmp_path):
    settings = EvidenceSettings(thumbnail="jpeg", clip_seconds=1.0)
    config = SimpleNamespace(evidence=settings, privacy=PrivacySettings(), camera="door", state_folder=tmp_path)
    config.outbox = SimpleNamespace(min_free=0)
    recorder = EvidenceRecorder(config, SimpleNamespace(put_system_event=lambda *_: None))
    recorder.start()
    pixels = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    sent = []
    for number in range(5):
        event = make_event(number)
        frame = Frame("door", event.frame, event.taken, pixels, number / 5, hidden=hidden)
        recorder.add_frame(frame, event.predictions)
        sent.append(recorder.attach(event))
    recorder.keep_part("part", frame, event.predictions)
    recorder.close()
    stored = sorted(path for path in (tmp_path / "evidence").rglob("*") if path.is_file())
    assert [path.name for path in stored if path.suffix == ".jpg"] == [] or not hidden
    assert all((event.evidence is None) == hidden for event in sent)
    clips = [path for path in stored if path.suffix == ".mp4"]
    assert clips, "a clip of the frames that may be shown"
    ok, first = cv2.VideoCapture(str(clips[0])).read()
    assert ok
    assert (first.max() < 16) == hidden
