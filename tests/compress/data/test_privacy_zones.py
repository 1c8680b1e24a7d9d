"""`[data] privacy`: no pixel of a zone reaches a build, and a device knows which zones its model was fitted with."""

from __future__ import annotations

import json

import cv2
import msgspec
import numpy as np
import pytest
from products import write_goal_for

from vedette.compress.goal.goal_reader import read_goal
from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.camera import image_files
from vedette.runtime.camera.privacy_warnings import describe_zone_difference
from vedette.runtime.config.camera_tables import PrivacySettings
from vedette.runtime.errors import ConfigProblem

ZONE = ((0.0, 0.0), (0.4, 0.0), (0.4, 0.3), (0.0, 0.3))
ZONES = "privacy = [[[0.0, 0.0], [0.4, 0.0], [0.4, 0.3], [0.0, 0.3]]]"


def test_zones_are_black_in_color_and_gray_and_masks_stay(tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.full((50, 80, 3), 200, np.uint8))
    with image_files.black_zones([ZONE]):
        for flags in (cv2.IMREAD_COLOR, cv2.IMREAD_GRAYSCALE):
            pixels = image_files.read_image(path, flags)
            assert (pixels[:15, :32] == 0).all()
            assert (pixels[17:] == 200).all()
            assert (pixels[:, 34:] == 200).all()
        assert (image_files.read_image(path, cv2.IMREAD_UNCHANGED) == 200).all()
    assert (image_files.read_image(path) == 200).all(), "only within the context"


def test_zone_of_another_task_or_form_is_an_error(anomaly_images, tmp_path):
    goal = write_goal_for(
        anomaly_images, tmp_path, ("[data]", "[data]\nprivacy = [[[0.0, 0.0], [2.0, 0.0], [1.0, 1.0]]]")
    )
    with pytest.raises(ConfigProblem, match="privacy"):
        read_goal(goal)
    goal.write_text(f'name = "x"\ntask = "behaviour"\n[data]\nfootage = "x"\n{ZONES}')
    with pytest.raises(ConfigProblem, match="privacy does not apply"):
        read_goal(goal)


@pytest.mark.slow
def test_build_sees_nothing_in_the_zone_and_says_so(
    anomaly_images, tmp_path, build_bundle, keyring, call_vedette, key_folder
):
    """Images that differ from each other in the zone alone give the same bundle."""
    padim = ("[model]\ninput = 96", '[model]\ndetector = "padim"\ninput = 64')
    goal = write_goal_for(anomaly_images, tmp_path, ("[data]", f"[data]\n{ZONES}"), padim)
    first = build_bundle(goal, tmp_path / "out")
    changed = tmp_path / "changed"
    for kind in ("good", "defect"):
        (changed / kind).mkdir(parents=True)
        for path in (anomaly_images / kind).iterdir():
            pixels = cv2.imread(str(path))
            pixels[:30, :40] = 255
            cv2.imwrite(str(changed / kind / path.name), pixels)
    (changed / "goal.toml").write_text(goal.read_text().replace(f"{anomaly_images}/", ""))
    second = build_bundle(changed / "goal.toml", tmp_path / "out2")
    digests = [
        {name: member.sha256 for name, member in built.manifest.files.items() if not name.startswith("report")}
        for built in (first, second)
    ]
    assert digests[0] == digests[1]
    assert first.manifest.threshold == second.manifest.threshold

    manifest = Bundle.open(first.bundle, keyring).manifest
    assert describe_zone_difference(PrivacySettings((ZONE,)), manifest) == ""
    other = PrivacySettings((((0.5, 0.5), (1.0, 0.5), (1.0, 1.0)),))
    assert "other privacy zones" in describe_zone_difference(other, manifest)
    done = call_vedette("verify", first.bundle, "--data", changed, "--keys", key_folder, "--json")
    same = call_vedette("verify", first.bundle, "--data", anomaly_images, "--keys", key_folder, "--json")
    rates = [json.loads(each.stdout)["false_alarm_rate"] for each in (done, same)]
    assert rates[0] == rates[1]


def test_zones_of_a_model_fitted_without_them_are_warned_of(anomaly_bundle, detection_bundle):
    settings = PrivacySettings((ZONE,))
    assert "without privacy zones" in describe_zone_difference(settings, anomaly_bundle.manifest)
    assert describe_zone_difference(PrivacySettings(), anomaly_bundle.manifest) == ""
    assert describe_zone_difference(settings, detection_bundle.manifest) == ""
    empty = msgspec.structs.replace(anomaly_bundle.manifest, measured={})
    assert describe_zone_difference(settings, empty)


def test_daemon_warns_at_its_start(daemon_process, line_images, wait_until):
    daemon_process.configure(f"file:{line_images}?fps=0", "mqtt://127.0.0.1:1")
    daemon_process.append("[privacy]\nzones = [[[0.0, 0.0], [0.4, 0.0], [0.4, 0.3], [0.0, 0.3]]]")
    assert daemon_process.start().wait(120) == 0, daemon_process.log()
    assert "was fitted without privacy zones" in daemon_process.log()
