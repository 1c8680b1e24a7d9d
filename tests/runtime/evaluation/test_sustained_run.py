"""A sustained run gives percentiles of all frames, holds a rate, and shows a machine that becomes slower."""

from __future__ import annotations

import json
import time

import pytest

from vedette.runtime.evaluation.sustained_run import SustainedRequest, measure_sustained


def test_a_throttled_machine_is_told(tmp_path):
    flags = tmp_path / "devices/platform/soc/soc:firmware/get_throttled"
    flags.parent.mkdir(parents=True)
    flags.write_text("4")
    frames = []

    def slower_and_slower():
        frames.append(0)
        time.sleep(0.002 + 0.0003 * len(frames))

    lines = []
    calls = {"one": slower_and_slower, "other": lambda: time.sleep(0.002)}
    runs = measure_sustained(calls, SustainedRequest(0.02), tmp_path, lines.append)
    assert runs["one"].frames == len(frames)
    assert runs["one"].p50_ms <= runs["one"].p90_ms <= runs["one"].p99_ms
    assert runs["one"].late_slowdown > 1.2
    assert runs["one"].flags == runs["other"].flags == ("throttled",)
    assert len(lines) == 3


def test_a_frame_rate_is_held(tmp_path):
    (run,) = measure_sustained({"one": lambda: None}, SustainedRequest(0.02, fps=20), tmp_path).values()
    assert 15 < run.fps < 26
    assert run.flags is None


@pytest.mark.slow
@pytest.mark.build
def test_bench_measures_for_minutes_without_a_power_meter(anomaly_build, key_folder, call_vedette):
    options = ("--rounds", "2", "--frame", "64x64", "--keys", key_folder, "--fps", "50", "--minutes", "0.05")
    done = call_vedette("bench", anomaly_build.bundle, *options, "--json")
    assert done.returncode == 0, done.stderr
    for row in json.loads(done.stdout)["measured"]:
        assert row["sustained"]["frames"] > 1
        assert row["energy"] is None
    assert "sustained run: round" in done.stderr
