"""Behaviour: difference images, motion zones without labels and clips with labels, from recordings to events."""

from __future__ import annotations

import json

import clips as made
import msgspec
import numpy as np
import pytest
import torch
from paths import SHARED, TESTS

from vedette.compress.data import clip_groups
from vedette.compress.goal.goal_reader import read_goal
from vedette.compress.models import efficientnet_lite, motion_anomaly_model
from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.manifest import MotionInput
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.evaluation import behaviour_evaluation
from vedette.runtime.inference.frame_differencing import FrameDifferencer, OutputWindow, aggregate_windows

CLIPS = SHARED / "fight"
MOTION = MotionInput(spacing=0.2, gain=2.0, window=1.0)
SPEC = efficientnet_lite.backbone_input_spec(128)

GOAL = """\
name = "yard"
task = "behaviour"
[data]
{data}
[model]
{model}
"""


def gray_frame(level):
    return np.full((48, 64, 3), level, np.uint8)


# Difference images


def test_three_frames_make_a_difference_image():
    differences = FrameDifferencer(SPEC, MOTION)
    assert [differences(100 + 0.1 * number, gray_frame(50)) is None for number in range(3)] == [True] * 3
    still = differences(100.4, gray_frame(50))
    assert still.shape == (128, 128, 3)
    assert (still == 127).all()
    brighter = differences(100.5, gray_frame(60))  # as blue, green, red: of all, of then, of now
    assert brighter[0, 0].tolist() == [147, 127, 147]
    darker = differences(100.7, gray_frame(0))
    assert darker[0, 0].tolist() == [127 - 100, 147, 127 - 120]


def test_differences_beyond_the_range_are_clipped():
    differences = FrameDifferencer(SPEC, MOTION)
    for taken, level in ((0.0, 0), (0.2, 255)):
        differences(taken, gray_frame(level))
    assert differences(0.4, gray_frame(0))[0, 0].tolist() == [127, 255, 0]


def test_time_jump_or_gap_is_not_motion():
    differences = FrameDifferencer(SPEC, MOTION)
    for number in range(10):
        differences(100 + 0.1 * number, gray_frame(50))
    assert differences(50.0, gray_frame(200)) is None
    assert differences(50.1, gray_frame(200)) is None
    for number in range(10):
        differences(60 + 0.1 * number, gray_frame(50))
    assert differences(90.0, gray_frame(200)) is None


def test_low_frame_rate_is_logged_once(caplog):
    differences = FrameDifferencer(SPEC, MOTION)
    pictures = [differences(0.5 * number, gray_frame(number % 255)) for number in range(250)]
    assert pictures == [None] * 250
    assert caplog.text.count("no predictions") == 1


def test_frames_are_compared_by_time_not_by_count():
    rng = np.random.default_rng(0)
    differences, times = FrameDifferencer(SPEC, MOTION), np.cumsum(rng.uniform(0.03, 0.08, 200))
    for taken in times:
        picture = differences(taken, gray_frame(int(10 * taken)))  # ten levels a second
        if picture is not None:
            assert abs(int(picture[0, 0, 2]) - 127 - 2 * 10 * 0.2) <= 4


def test_model_without_motion_input_keeps_no_state():
    pixels, outputs = gray_frame(3), {"score": np.array([7], np.uint8)}
    assert FrameDifferencer(SPEC, None)(1.0, pixels) is pixels
    assert OutputWindow(None)(1.0, outputs) is outputs


def test_score_is_averaged_over_the_window():
    window = OutputWindow(MOTION)

    def told(taken, score):
        found = window(taken, {"score": np.array([score], np.uint8), "map": np.array([[score, 0]], np.uint8)})
        return None if found is None else (found["score"].item(), found["map"].tolist())

    assert [told(0.25 * number, 0) for number in range(4)] == [None] * 4
    assert told(1.0, 0) == (0, [[0, 0]])
    assert told(1.25, 200) == (50, [[200, 0]])
    assert told(1.5, 200) == (100, [[200, 0]])
    assert told(9.0, 200) is None  # after a gap a while has to pass anew
    assert told(3.0, 200) is None


def test_short_recording_gets_one_score():
    outputs = [(0.4 + 0.2 * number, {"score": np.array([number], np.uint8)}) for number in range(3)]
    assert [each["score"].item() for each in aggregate_windows(MOTION, outputs)] == [1.0]


# Zones


def difference_images(kind, seeds):
    for seed in seeds:
        differences = FrameDifferencer(SPEC, MOTION)
        shown = [differences(number / made.RATE, frame) for number, frame in enumerate(made.yard_frames(kind, seed))]
        yield np.stack([each for each in shown if each is not None])


def as_network_input(images):
    return (
        torch.from_numpy(images[..., ::-1].copy()).permute(0, 3, 1, 2).float() - efficientnet_lite.MEAN
    ) / efficientnet_lite.STD


def test_motion_energy_depends_on_the_direction():
    energies = motion_anomaly_model.MotionEnergies()
    right, left = (
        energies(as_network_input(next(difference_images(kind, [1]))))[0].sum(dim=(0, 2, 3))
        for kind in ("walk", "back")
    )
    assert right[3] > 2 * right[4]
    assert left[4] > 2 * left[3]
    still = energies(as_network_input(np.full((1, 128, 128, 3), 127, np.uint8)))[0]
    assert float(still.abs().max()) == 0


def test_abnormal_motion_scores_above_normal_motion():
    model = motion_anomaly_model.ZoneAnomalyModel(128)
    usual = [model.backbone(as_network_input(each))[0] for each in difference_images("walk", range(12))]
    model.fit([torch.cat(usual)])
    scores = {
        kind: [
            float(model(model.backbone(as_network_input(each)))[1].mean())
            for each in difference_images(kind, range(50, 54))
        ]
        for kind in made.SPEEDS
    }
    assert min(*scores["back"], *scores["run"], *scores["shake"]) > max(scores["walk"])


# Groups of clips


def test_clips_below_a_heading_are_one_group(tmp_path):
    text = (
        "https://example.org/a\r\nfi001: 0.13.50 - 0.15.60\r\nnofi002: 1.0 - 2.0\r\n"
        "Station\r\nfi003: 0.1 - 0.2\r\nnofi062 - nofi064 : CamNet\r\n"
    )
    assert clip_groups.parse_clip_groups(text) == {
        **dict.fromkeys(("fi001", "nofi002"), "https://example.org/a"),
        "fi003": "Station",
        **dict.fromkeys(("nofi062", "nofi063", "nofi064"), "CamNet"),
    }
    (tmp_path / "videos.txt").write_text(text)
    paths = [tmp_path / "fight" / name for name in ("fi001.mp4", "alone.mp4")]
    found = clip_groups.group_clips({"fight": paths}, {"fight": tmp_path / "fight"}, "videos.txt", tmp_path)
    assert found == {paths[0]: "https://example.org/a", paths[1]: "fight/alone.mp4"}
    for name, why in (("none.txt", "cannot be read"), ("empty.txt", "names no clip")):
        (tmp_path / "empty.txt").write_text("")
        with pytest.raises(ConfigProblem, match=why):
            clip_groups.group_clips({"fight": paths}, {"fight": tmp_path / "fight"}, name, tmp_path)


# Refused goals and recordings


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ('footage = "walk"\ngood = "walk"', "data.good does not apply"),
        ('footage = "walk"\nclasses = "walk"', "does not say what is normal"),
        ('abnormal = "walk"', "does not say what is normal"),
        ('footage = "nowhere"', "no folder"),
        ('footage = "walk"\nnormal = ["walk"]', "data.normal does not apply"),
        ('classes = "walk"\n[goal]\nfalse_alarm_rate = 0.1', "false_alarm_rate does not apply"),
    ],
)
def test_incomplete_or_contradictory_goal_is_refused(tmp_path, data, why):
    (tmp_path / "walk").mkdir()
    path = tmp_path / "goal.toml"
    path.write_text(GOAL.format(data=data, model=""))
    with pytest.raises(ConfigProblem) as caught:
        read_goal(path)
    assert why in caught.value.message


def test_unusable_recordings_are_named(tmp_path):
    (tmp_path / "torn.mp4").write_bytes(b"no video")
    with pytest.raises(ConfigProblem, match=r"torn\.mp4: cannot be read"):
        list(behaviour_evaluation.difference_images(tmp_path / "torn.mp4", SPEC, MOTION))
    short = made.write_video(tmp_path / "short.avi", made.yard_frames("walk", 0)[:4])
    slow = made.write_video(tmp_path / "slow.avi", made.yard_frames("walk", 0), rate=2)
    for path in (short, slow):
        with pytest.raises(ConfigProblem, match="too short, or too few frames"):
            list(behaviour_evaluation.difference_images(path, SPEC, MOTION))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigProblem, match="no recordings in it"):
        behaviour_evaluation.find_videos(tmp_path / "empty")


def test_same_recording_gives_same_difference_images(tmp_path):
    path = made.write_video(tmp_path / "walk.avi", made.yard_frames("walk", 3))
    first, second = (list(behaviour_evaluation.difference_images(path, SPEC, MOTION)) for _ in range(2))
    assert [taken for taken, _ in first] == pytest.approx(np.arange(2, 11) * 0.2, abs=0.04)
    assert all(np.array_equal(one, other) for (_, one), (_, other) in zip(first, second, strict=True))


# From recordings to events


def test_build_from_normal_footage_alone(behaviour_build, keyring):
    manifest = Bundle.open(behaviour_build.bundle, keyring).manifest
    assert manifest.motion == MOTION
    assert behaviour_build.verdict.met
    measured = manifest.measured
    assert measured["images"]["test_good"] == 3
    assert measured["images"]["test_defect"] == 6
    assert measured["auroc_int8_onnx"] == measured["auroc_int8_tflite"] >= 0.9
    assert measured["parity_max_steps"] <= 1
    assert measured["bytes_int8_tflite"] < 50_000
    page = behaviour_build.report.read_text()
    assert "highest score that the device would have reported" in page
    facts = json.loads(behaviour_build.report.with_suffix(".json").read_text())
    assert not any("/tmp" in text or "vedette-clips" in text for part in facts["split"].values() for text in part)


def test_verify_scores_recordings(behaviour_build, behaviour_videos, key_folder, call_vedette):
    done = call_vedette("verify", behaviour_build.bundle, "--keys", key_folder, "--data", behaviour_videos, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["good"], found["defect"]) == (12, 6)
    assert found["auroc_int8_onnx"] == found["auroc_int8_tflite"] >= 0.9
    done = call_vedette("verify", behaviour_build.bundle, "--keys", key_folder, "--data", behaviour_videos / "normal")
    assert done.returncode == 2
    assert "no recordings of normal behaviour" in done.stderr


def test_daemon_reports_time_and_place_of_abnormal_motion(
    behaviour_build, behaviour_videos, key_folder, tmp_path, run_vedette
):
    (tmp_path / "cameras").mkdir()
    (tmp_path / "vedette.toml").write_text(f'[broker]\nurl = "stdout:"\n[device]\nkeys = "{key_folder}"\n')
    (tmp_path / "cameras" / "yard.toml").write_text(
        f'source = "file:{behaviour_videos / "day.avi"}?fps=0"\nbundle = "{behaviour_build.bundle}"\n'
        '[[rules]]\nuse = "presence"\n'
    )
    run = run_vedette("run", "yard", "--config", tmp_path)
    assert run.returncode == 0, run.stderr
    events = [json.loads(text)["data"] for text in run.stdout.splitlines()]
    (new,) = [each for each in events if each["kind"] == "new"]
    (end,) = [each for each in events if each["kind"] == "end"]
    shaking = range(int(2.0 * made.RATE), int(6.5 * made.RATE))  # and for as long as the window still holds it
    assert new["frame"] in shaking
    assert end["frame"] in shaking
    box = new["predictions"][0]["box"]
    assert box["left"] < 0.4 < box["right"] < 0.7  # it shakes about a third of the way across, and nobody else does


@pytest.mark.slow
def test_build_classifier_from_labelled_clips(build_bundle, key_folder, keyring, tmp_path, call_vedette):
    for kind, name in (("walk", "normal"), ("shake", "fight")):
        for seed in range(6):
            made.write_video(tmp_path / "kinds" / name / f"{seed:02}.avi", made.yard_frames(kind, seed, seconds=1.2))
    goal = tmp_path / "goal.toml"
    goal.write_text(GOAL.format(data='classes = "kinds"', model="input = 64"))
    built = build_bundle(goal, tmp_path / "out")
    manifest = Bundle.open(built.bundle, keyring).manifest
    assert manifest.normal == ("normal",)
    assert manifest.measured["images"]["test"] >= 2
    assert manifest.measured["auroc_int8_tflite"] >= 0.9
    assert manifest.measured["accuracy_int8_onnx"] >= 0.8
    done = call_vedette("verify", built.bundle, "--keys", key_folder, "--data", tmp_path / "kinds", "--json")
    found = msgspec.json.decode(done.stdout)
    assert (found["good"], found["defect"]) == (6, 6)
    assert found["auroc_int8_onnx"] >= 0.9


@pytest.mark.slow
def test_fights_are_separated_from_normal_clips(monkeypatch):
    """One division of the real clips, grouped by source video; the figures are those of `make bench-behaviour`."""
    if not CLIPS.is_dir():
        pytest.skip("the development clips fight are not beside the project")
    monkeypatch.syspath_prepend(TESTS / "bench")
    import behaviour

    for what, least in (("without labels", 0.70), ("with labels", 0.80)):
        scores, truth, _ = behaviour.crossed(what, CLIPS, seed=0)
        for name in ("int8_onnx", "int8_tflite"):
            assert behaviour.auroc(scores[name][truth == 0], scores[name][truth == 1]) >= least
