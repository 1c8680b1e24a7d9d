"""The real daemon before a viewer: what it shows, and what it leaves behind."""

from __future__ import annotations

import signal

import numpy as np
import pytest
from examples import list_examples
from waiting import wait_for

from vedette.runtime.live.frame_reader import LiveFrameReader
from vedette.runtime.live.scores import read_scores
from vedette.runtime.live.workshop_scores import WorkshopScores, read_workshop_scores


@pytest.fixture
def door(daemon_process, line_images):
    """A daemon, and where its live frames and scores are."""
    daemon_process.configure(f"file:{line_images}?fps=20&loop=true", "mqtt://127.0.0.1:1")
    return daemon_process, daemon_process.folder / "state" / "door"


def read_until(reader, condition):
    """The first live frame for which a condition holds."""
    found = []

    def is_there():
        frame = reader.read()
        found[:] = [frame] if frame is not None and condition(frame) else []
        return found

    wait_for(is_there, "a live frame")
    return found[0]


def run_documented_example(folder, capsys):
    """The lines that the example of docs/status.md prints for a state folder."""
    (example,) = (each for each in list_examples() if each.page == "docs/status.md" and each.language == "python")
    exec(compile(example.text.replace("/var/lib/vedette/door", str(folder)), str(example), "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert "ReplayedThreshold(threshold=2.5, alarms=" in printed[-1]
    return printed


def test_viewer_sees_what_the_daemon_sees_and_why_it_alarms(door, anomaly_bundle, capsys):
    daemon, folder = door
    daemon.start()
    with LiveFrameReader(folder) as reader:
        alarm = read_until(reader, lambda frame: frame.open_rules)
        quiet = read_until(reader, lambda frame: not frame.open_rules)
        threshold = anomaly_bundle.manifest.threshold
        assert alarm.pixels.shape == quiet.pixels.shape == (120, 120, 3)
        assert quiet.score < threshold <= alarm.score
        assert (alarm.threshold, alarm.model) == (threshold, anomaly_bundle.manifest.model_id)
        (reason,) = alarm.open_rules
        assert (reason.rule, reason.measured, reason.limit) == ("presence", alarm.score, threshold)
        assert reason.why == f"anomaly: score {alarm.score:.4g}; the limit is {threshold:.4g}"
        known = read_workshop_scores(folder)
        assert known == WorkshopScores(alarm.model, threshold, anomaly_bundle.manifest.good_scores)
        assert alarm.predictions[0].box is not None
        assert np.nanmax(alarm.heat_map) > np.nanmax(quiet.heat_map)

        daemon.processes[0].send_signal(signal.SIGKILL)
        daemon.processes[0].wait()
        wait_for(lambda: reader.read(0.1) is None and not reader.is_connected, "the end of the connection")
        daemon.start()
        assert read_until(reader, lambda frame: frame.open_rules), "of the new daemon"
        assert run_documented_example(folder, capsys)[0] == "time,camera,model,score,alarm"

    daemon.processes[1].send_signal(signal.SIGTERM)
    assert daemon.processes[1].wait() == 0
    scores = read_scores(folder)
    assert len(scores) >= 1
    assert scores.models == (anomaly_bundle.manifest.model_id,)
    assert scores.thresholds == (threshold,)
    assert scores.peak.max() >= scores.score.max()
