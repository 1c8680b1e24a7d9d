"""`vedette recalibrate`: from images under other light, signed or kept on the device, and never silent."""

from __future__ import annotations

import json
import logging
import shutil

import cv2
import msgspec
import numpy as np
import pytest

from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.local_recalibration import open_bundle, write_recalibration
from vedette.runtime.bundle.recalibration_file import recalibration_path
from vedette.runtime.camera import image_files
from vedette.runtime.errors import BundleProblem, ConfigProblem
from vedette.runtime.evaluation.bundle_recalibration import recalibrate_bundle
from vedette.runtime.evaluation.bundle_verification import score_images
from vedette.runtime.inference import backends, heads
from vedette.runtime.inference.golden_outputs import reproduces_golden_outputs
from vedette.runtime.inference.pipeline import InferencePipeline
from vedette.runtime.inference.preprocess import Preprocess
from vedette.runtime.inference.region_of_interest import describe_region_difference

LEFT = ((0.0, 0.0), (0.4, 0.0), (0.4, 1.0), (0.0, 1.0))


def darken(paths, folder):
    """The images at half of their brightness."""
    folder.mkdir(parents=True)
    for path in paths:
        pixels = image_files.read_image(path)
        cv2.imwrite(str(folder / path.name), np.rint(0.5 * pixels).astype(np.uint8))
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def dark(anomaly_build, tmp_path_factory):
    """Dark images: good ones to recalibrate with, other good ones, and defective ones."""
    split, folder = anomaly_build.split, tmp_path_factory.mktemp("dark")
    parts = {"new": [*split.threshold, *split.calibrate], "good": split.test, "defect": split.defect}
    return {part: darken(paths, folder / part) for part, paths in parts.items()}


@pytest.fixture
def bundle(anomaly_build, keyring, tmp_path):
    """The bundle of the anomaly model in a folder of its own."""
    path = tmp_path / "weave.vedette"
    shutil.copy(anomaly_build.bundle, path)
    return Bundle.open(path, keyring)


@pytest.fixture(scope="module")
def result(anomaly_bundle, dark):
    return recalibrate_bundle(anomaly_bundle, dark["new"])


def scores_of(bundle, paths):
    return np.array(score_images(bundle, backends.load_backend("onnx", bundle), paths))


def test_recalibration_separates_again(bundle, keyring, dark, result):
    """Under half of the light good parts raise alarms, and after recalibration they do not, while defects do."""
    before = scores_of(bundle, dark["good"])
    assert (before >= bundle.manifest.threshold).mean() > 0.5
    write_recalibration(bundle, result.recalibration)
    opened = open_bundle(bundle.path, keyring)
    after, threshold = scores_of(opened, dark["good"]), opened.manifest.threshold
    assert after == pytest.approx(before - result.recalibration.offset, abs=1e-3)
    assert (after >= threshold).mean() < 0.2
    assert (scores_of(opened, dark["defect"]) >= threshold).mean() > 0.5


def test_offset_brings_scores_back_to_the_scale_of_the_build(anomaly_bundle, result):
    recalibration = result.recalibration
    assert recalibration.offset > 0
    assert recalibration.good_scores.median == pytest.approx(anomaly_bundle.manifest.good_scores.median, abs=1e-3)


def test_box_is_that_of_the_same_cells(bundle, keyring, dark, result):
    """The map has no offset, so the threshold for its cells is the one before the offset."""
    write_recalibration(bundle, result.recalibration)
    manifest = open_bundle(bundle.path, keyring).manifest
    outputs = backends.load_backend("onnx", bundle).run(heads_input(bundle.manifest, dark["defect"][0]))
    raw = msgspec.structs.replace(
        manifest, recalibrated=None, threshold=manifest.threshold + result.recalibration.offset
    )
    (here,), (there,) = (heads.load_head(each)(outputs) for each in (manifest, raw))
    assert here.box == there.box
    assert here.score == pytest.approx(there.score - result.recalibration.offset, abs=1e-3)


def heads_input(manifest, path):
    return Preprocess(manifest.input)(image_files.read_image(path))


def test_local_recalibration_is_in_the_name_of_the_model_and_in_the_log(bundle, keyring, result, caplog):
    path = write_recalibration(bundle, result.recalibration)
    with caplog.at_level(logging.WARNING):
        opened = open_bundle(bundle.path, keyring)
    assert opened.manifest.model_id.startswith(f"{bundle.manifest.model_id}+recalibrated.")
    assert opened.manifest.model_id in caplog.text
    assert f"from {result.recalibration.images} good images" in caplog.text
    assert Bundle.open(bundle.path, keyring).manifest == bundle.manifest, "the signed manifest is as it was"
    text = path.read_text().replace('"images": ', '"images": 1')
    path.write_text(text)
    assert open_bundle(bundle.path, keyring).manifest.model_id != opened.manifest.model_id


def test_recalibration_of_another_bundle_is_ignored_with_a_warning(bundle, keyring, result, caplog):
    path = write_recalibration(bundle, result.recalibration)
    path.write_text(path.read_text().replace(bundle.manifest_sha256, "0" * 64))
    with caplog.at_level(logging.WARNING):
        assert open_bundle(bundle.path, keyring).manifest == bundle.manifest
    assert f"{path} is ignored: it belongs to another bundle" in caplog.text


@pytest.mark.parametrize("text", ["", "{}", "no JSON", '{"model": 1}'])
def test_broken_file_is_refused_with_a_remedy(bundle, keyring, text):
    recalibration_path(bundle.path).write_text(text)
    with pytest.raises(ConfigProblem, match="not a recalibration") as caught:
        open_bundle(bundle.path, keyring)
    assert "--reset" in caught.value.hint


def test_copies_count_once(anomaly_bundle, dark, tmp_path):
    for number in range(3):
        shutil.copy(dark["new"][0], tmp_path / f"{number}.png")
    result = recalibrate_bundle(anomaly_bundle, [tmp_path, dark["new"][1]])
    assert (result.copies, result.recalibration.images) == (2, 2)


def test_images_like_defects_are_named(anomaly_bundle, anomaly_build):
    split = anomaly_build.split
    defect = scores_of(anomaly_bundle, split.defect)
    worst = split.defect[int(defect.argmax())]
    result = recalibrate_bundle(anomaly_bundle, [*split.threshold, worst])
    assert str(worst) in result.high


def test_few_images_say_what_they_prove(anomaly_bundle, dark):
    recalibration = recalibrate_bundle(anomaly_bundle, dark["new"][:3], 0.01).recalibration
    assert recalibration.rate_bound == pytest.approx(1 - 0.05 ** (1 / 3))
    assert "at most 63.2% of good parts" in recalibration.statement
    assert "0.01 takes 299" in recalibration.statement


def test_bundle_without_recorded_scores_has_no_offset(anomaly_bundle, dark):
    """Bundles of earlier releases record none."""
    measured = {key: value for key, value in anomaly_bundle.manifest.measured.items() if key != "good_scores"}
    manifest = msgspec.structs.replace(anomaly_bundle.manifest, measured=measured)
    old = Bundle(anomaly_bundle.path, manifest, anomaly_bundle.members, "")
    recalibration = recalibrate_bundle(old, dark["new"]).recalibration
    assert recalibration.offset == 0
    assert recalibration.good_scores.median > anomaly_bundle.manifest.threshold / 2


def test_other_tasks_are_refused(class_bundle, dark):
    with pytest.raises(BundleProblem, match="task classify cannot be recalibrated"):
        recalibrate_bundle(class_bundle, dark["new"])


def test_command_signs_the_next_release(bundle, key_folder, keyring, dark, call_vedette, tmp_path):
    command = ("recalibrate", bundle.path, dark["new"][0].parent, "--keys", key_folder)
    signed = ("--key", key_folder / "vedette.key", "--out", tmp_path / "out", "--json")
    done = call_vedette(*command, *signed)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    opened = Bundle.open(tmp_path / "out" / "weave.vedette", keyring)
    assert facts["file"] == str(opened.path)
    assert (opened.manifest.release, bundle.manifest.release) == (2, 1)
    assert opened.manifest.model_id == facts["model"]
    assert opened.manifest.recalibrated.images == len(dark["new"])
    assert opened.manifest.threshold == pytest.approx(facts["recalibration"]["threshold"])
    assert opened.manifest.files == bundle.manifest.files
    assert reproduces_golden_outputs(opened, backends.load_backend("onnx", opened))
    assert not recalibration_path(bundle.path).exists()
    again = recalibrate_bundle(opened, dark["new"]).recalibration
    assert again.offset == pytest.approx(opened.manifest.recalibrated.offset), "offsets do not add up"
    shown = call_vedette("show", opened.path, "--keys", key_folder).stdout
    assert f"recalibrated: threshold and offset were set anew from {len(dark['new'])} good images" in shown


def test_command_keeps_it_beside_the_bundle_until_reset(bundle, key_folder, dark, call_vedette):
    done = call_vedette("recalibrate", bundle.path, *dark["new"], "--keys", key_folder)
    assert done.returncode == 0, done.stderr
    assert str(recalibration_path(bundle.path)) in done.stdout
    shown = call_vedette("show", bundle.path, "--keys", key_folder).stdout
    assert f"ON THIS DEVICE, as {bundle.manifest.model_id}+recalibrated." in shown
    verified = call_vedette("verify", bundle.path, "--data", dark["good"][0].parents[1], "--keys", key_folder)
    assert verified.returncode == 0, verified.stderr
    assert "+recalibrated." in verified.stdout
    assert call_vedette("recalibrate", bundle.path, "--reset").stdout == "removed; restart the daemon\n"
    assert not recalibration_path(bundle.path).exists()
    assert "there is no recalibration" in call_vedette("recalibrate", bundle.path, "--reset").stdout
    assert "ON THIS DEVICE" not in call_vedette("show", bundle.path, "--keys", key_folder).stdout


def test_recalibration_is_that_of_the_cameras_region(
    daemon_process, bundle, keyring, key_folder, dark, result, call_vedette
):
    """Its scores are those of the region, so drift is watched in that region and in no other one."""
    daemon_process.configure("file:none", "none:")
    daemon_process.bundle = bundle.path
    camera_file = daemon_process.camera_file
    camera_file.write_text(f"region = {[list(corner) for corner in LEFT]}\n{camera_file.read_text()}")
    view = ("--camera", "door", "--config", daemon_process.folder, "--keys", key_folder)
    done = call_vedette("recalibrate", bundle.path, *dark["new"], *view)
    assert done.returncode == 0, done.stderr
    opened = open_bundle(bundle.path, keyring)
    assert opened.manifest.recalibrated.region == LEFT
    assert opened.manifest.recalibrated.offset < result.recalibration.offset, "the median of the scores is lower"
    backend, head = backends.load_backend("onnx", opened), heads.load_head(opened.manifest)
    assert InferencePipeline(opened, backend, head, LEFT).drift is not None
    assert InferencePipeline(opened, backend, head).drift is None
    assert describe_region_difference(LEFT, opened.manifest) == ""
    assert "in another region of interest" in describe_region_difference((), opened.manifest)
    data = ("--data", dark["good"][0].parents[1], "--json")
    verified, whole = (call_vedette("verify", bundle.path, *data, *each) for each in (view, view[-2:]))
    assert verified.returncode == whole.returncode == 0, verified.stderr + whole.stderr
    inside, everywhere = (json.loads(each.stdout) for each in (verified, whole))
    assert inside["region"] == [list(corner) for corner in LEFT]
    assert inside["false_alarm_rate"]["onnx"] <= everywhere["false_alarm_rate"]["onnx"]
    assert ("p_values" in inside, "p_values" in everywhere) == (True, False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no images"),
        (("x.png", "--out", "out"), "--out and --key belong together"),
        (("x.png", "--reset"), "--reset takes no images"),
        (("nowhere.png",), "nowhere.png: No such file"),
    ],
)
def test_wrong_arguments_are_refused(bundle, key_folder, call_vedette, arguments, message):
    done = call_vedette("recalibrate", bundle.path, *arguments, "--keys", key_folder)
    assert done.returncode == 2
    assert message in done.stderr


def test_events_and_status_name_the_recalibration(daemon_process, bundle, dark, result, broker, subscriber, wait_until):
    """A daemon that runs a recalibrated model says so in every event, which also carries the p-value."""
    write_recalibration(bundle, result.recalibration)
    daemon_process.bundle = bundle.path
    broker.start()
    wait_until(subscriber.subscribed.is_set, "the subscription")
    daemon_process.configure(f"file:{dark['defect'][0].parent}?fps=0", f"mqtt://127.0.0.1:{broker.port}")
    process = daemon_process.start()
    assert process.wait(60) == 0, daemon_process.log()
    wait_until(lambda: subscriber.events and len(subscriber.events) == daemon_process.recorded(), "all events")
    assert all("+recalibrated." in event["modelid"] for event in subscriber.events)
    assert all(0 < event["data"]["predictions"][0]["p_value"] < 0.2 for event in subscriber.events)
    assert "threshold and offset were set anew" in daemon_process.log()
