"""The classifier: split, augmentation, calibrated confidence, training, and a whole build up to events."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch

from vedette.compress.data import stratified_split
from vedette.compress.data.augmentation import augment_image
from vedette.compress.evaluation import confidence_and_reject_threshold
from vedette.compress.goal import goal_reader
from vedette.compress.goal.augmentation_settings import AugmentationSettings
from vedette.compress.goal.goal_tables import DataSettings
from vedette.compress.models import efficientnet_lite
from vedette.compress.models.classifier_head import Classifier
from vedette.compress.training.classifier_fine_tuning import fine_tune
from vedette.runtime.bundle.manifest import encode_manifest
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.evaluation.metrics import (
    confusion_matrix,
    expected_calibration_error,
    reliability_diagram,
    wilson_interval,
)
from vedette.runtime.inference.heads.classify import softmax
from vedette.runtime.progress import no_progress

PARTS = ("fit", "calibrate", "threshold", "test")

# Split


@pytest.fixture
def folder(tmp_path):
    """160 good, 80 bent and 20 torn images, four of each part; bent and torn images of one part share a group."""
    for name, count in (("good", 160), ("bent", 80), ("torn", 20)):
        (tmp_path / "all" / name / "deeper").mkdir(parents=True)
        for number in range(count):
            part = number // 4 + (0 if name == "good" else 100)
            cv2.imwrite(str(tmp_path / "all" / name / "deeper" / f"part{part:03d}-{number}.png"), np.zeros((4, 4)))
    return tmp_path


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("group", [None, r"part(\d+)"])
def test_split_keeps_the_shares_of_every_class(folder, group, seed):
    split = stratified_split.split_by_class(DataSettings(classes="all", group=group, seed=seed), folder)
    assert split.classes == ("bent", "good", "torn")
    assert split.normal == ("good",)
    paths = [path for part in PARTS for path in getattr(split, part)]
    assert len(paths) == len(set(paths)) == 260
    for number, total in enumerate((80, 160, 20)):
        shares = [split.class_indices(getattr(split, part)).count(number) / total for part in PARTS]
        assert shares == pytest.approx([0.5, 0.1, 0.15, 0.25], abs=0.05 if group is None else 0.11)


def test_split_keeps_groups_whole_across_classes(folder):
    for path in sorted((folder / "all" / "bent" / "deeper").iterdir())[:16]:
        path.rename(folder / "all" / "torn" / "deeper" / path.name)
    for path in (folder / "all" / "bent" / "deeper").iterdir():
        cv2.imwrite(str(folder / "all" / "good" / path.name), np.zeros((4, 4)))
    for seed in range(5):
        split = stratified_split.split_by_class(DataSettings(classes="all", group=r"part(\d+)", seed=seed), folder)
        homes = {}
        for part in PARTS:
            for path in getattr(split, part):
                homes.setdefault(path.name[:7], set()).add(part)
            assert set(split.class_indices(getattr(split, part))) == {0, 1, 2}
        assert all(len(home) == 1 for home in homes.values())


def test_good_and_defect_folders_become_classes(folder):
    split = stratified_split.split_by_class(DataSettings(good="all/good", defect="all/bent"), folder)
    assert split.classes == ("good", "defect")
    assert split.normal == ("good",)
    assert stratified_split.split_by_class(DataSettings(classes="all", normal=("bent", "good")), folder).normal == (
        "bent",
        "good",
    )


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (DataSettings(classes="all/good"), "1 classes, at least 2"),
        (DataSettings(classes="all", normal=("fine",)), "no class 'fine'"),
        (DataSettings(good="all", defect="all/bent"), "would count as good and as defect"),
        (DataSettings(classes="all", group="part"), "1 groups"),
    ],
)
def test_split_that_is_impossible_is_refused(folder, data, said):
    with pytest.raises(ConfigProblem, match=said):
        stratified_split.split_by_class(data, folder)


def test_class_called_unknown_is_refused(folder):
    (folder / "all" / "torn").rename(folder / "all" / "unknown")
    with pytest.raises(ConfigProblem, match="no class may be called 'unknown'"):
        stratified_split.split_by_class(DataSettings(classes="all"), folder)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "does not say what the classes are"),
        ('good = "all/good"', "does not say what the classes are"),
        ('classes = "all"\ngood = "all/good"', "does not say what the classes are"),
        ('classes = "all"\nmask = "all"', "data.mask does not apply"),
        ('classes = "none"', "data.classes: no folder"),
        ('classes = "all"\n[model]\nblocks = [3]', "model.blocks does not apply"),
        ('classes = "all"\n[goal]\nfalse_alarm_rate = 0.1', "goal.false_alarm_rate does not apply"),
        ('classes = "all"\n[augment]\nrotate = 999', "rotate"),
    ],
)
def test_contradictory_goal_file_is_refused(folder, text, said):
    path = folder / "goal.toml"
    path.write_text(f'name = "x"\ntask = "classify"\n[data]\n{text}\n')
    with pytest.raises(ConfigProblem, match=said):
        goal_reader.read_goal(path)


# Augmentation

OFF = {"shift": 0, "rotate": 0, "flip": False, "light": 0, "illumination": 0, "blur": 0, "noise": 0}
PICTURE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


def test_disabled_augmentation_changes_nothing():
    assert np.array_equal(augment_image(PICTURE, AugmentationSettings(**OFF), np.random.default_rng(0)), PICTURE)


@pytest.mark.parametrize("key", OFF)
def test_each_augmentation_varies_and_is_reproducible(key):
    how = AugmentationSettings(**OFF | {key: {"flip": True, "blur": 2.0}.get(key, 0.2)})
    first, again = (
        [augment_image(PICTURE, how, rng) for _ in range(8)]
        for rng in (np.random.default_rng(3), np.random.default_rng(3))
    )
    assert np.array_equal(first, again)
    assert any(not np.array_equal(each, PICTURE) for each in first)
    assert all(each.shape == PICTURE.shape and each.dtype == np.uint8 for each in first)


def test_default_augmentation_keeps_a_faint_scratch():
    """A line of one pixel, a tenth of the range darker than its background, is still the darkest feature."""
    picture = np.full((96, 96, 3), 150, np.uint8)
    picture[48, 20:76] = 125
    rng = np.random.default_rng(0)
    for _ in range(30):
        varied = augment_image(picture, AugmentationSettings(), rng).astype(float).mean(axis=2)
        line, ground = np.sort(varied.ravel())[:40].mean(), np.median(varied)
        assert ground - line > 10


# Confidence


def simulate_scores(count, temperature, seed, classes=3):
    """Scores whose probabilities are calibrated at `temperature`."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 2, (count, classes))
    truth = np.array([rng.choice(classes, p=each) for each in softmax(scores, 1.0)])
    return scores * temperature, truth


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_temperature_is_recovered(temperature):
    scores, truth = simulate_scores(4000, temperature, 0)
    assert confidence_and_reject_threshold.fit_temperature(scores, truth) == pytest.approx(temperature, rel=0.1)
    sure = softmax(scores, temperature).max(axis=1)
    assert expected_calibration_error(sure, scores.argmax(axis=1) == truth) < 0.03
    if temperature > 1:
        assert expected_calibration_error(softmax(scores, 1.0).max(axis=1), scores.argmax(axis=1) == truth) > 0.08


def test_error_rate_of_the_answers_keeps_the_target():
    """Over many samples, the error rate of the answers to unseen images is about the target."""
    rates = []
    for seed in range(40):
        line = confidence_and_reject_threshold.choose_temperature_and_threshold(*simulate_scores(400, 1.0, seed), 0.1)  # type: ignore[call-arg]
        assert line.expected_error_rate <= 0.1
        scores, truth = simulate_scores(2000, 1.0, 1000 + seed)
        probabilities = softmax(scores, line.temperature)
        heard = probabilities.max(axis=1) >= line.min_probability
        rates.append((probabilities.argmax(axis=1) != truth)[heard].mean())
        assert abs(heard.mean() - line.coverage) < 0.15
    assert np.mean(rates) < 0.11


def test_small_sample_proves_only_a_high_error_rate():
    scores = np.array([[3.0, 0], [2, 0], [0, 4], [0, 1]])
    line = confidence_and_reject_threshold.choose_temperature_and_threshold(scores, np.array([0, 0, 1, 1]), 0.05)
    assert line.expected_error_rate == pytest.approx(1 / 5)
    assert line.coverage == 1
    assert 0.5 < line.min_probability < softmax(np.array([1.0, 0]), line.temperature)[0]
    hopeless = confidence_and_reject_threshold.choose_temperature_and_threshold(scores, np.array([1, 1, 0, 0]), 0.05)
    assert hopeless.expected_error_rate > 0.9


def test_confusion_matrix_interval_and_calibration_error():
    assert confusion_matrix([0, 0, 1, 2], [0, 1, 1, 2], 3).tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    low, high = wilson_interval(81, 263)  # the example in Newcombe (1998)
    assert (low, high) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert expected_calibration_error([0.9] * 10, [True] * 9 + [False]) == pytest.approx(0)
    assert expected_calibration_error([0.99] * 4 + [0.6] * 6, [False] * 4 + [True] * 6) == pytest.approx(
        0.4 * 0.99 + 0.6 * 0.4
    )
    assert sum(each.images for each in reliability_diagram([0, 0.5, 1, 1], [1, 1, 1, 0])) == 4


# Training


@pytest.mark.slow
def test_same_seed_gives_the_same_classifier(class_images):
    split = stratified_split.split_by_class(goal_reader.read_goal(class_images / "goal.toml").data, class_images)
    spec = efficientnet_lite.backbone_input_spec(64)
    fitted = []
    for _ in range(2):
        classifier = Classifier(efficientnet_lite.load_backbone((15,)), 3, 64)
        fine_tune(classifier, split, spec, AugmentationSettings(), 1, 0, no_progress)
        with torch.inference_mode():
            fitted.append(classifier(classifier.backbone(torch.zeros(1, 3, 64, 64)))[0])
    assert torch.equal(fitted[0], fitted[1])
    assert fitted[0].abs().max() > 0


def test_pooling_includes_mean_squares():
    """Two kinds of feature map with the same mean differ in their mean squares only."""
    torch.manual_seed(0)
    network = efficientnet_lite.load_backbone((10,))
    classifier = Classifier(network, 2, 64)
    calm = 5 + torch.randn(20, network.channels[0], 4, 4)
    wild = 5 + 3 * torch.randn(20, network.channels[0], 4, 4)
    classifier.fit_statistics([[calm], [wild]])
    pooled = classifier.standardize(classifier.pool([torch.cat([calm, wild])]))
    assert torch.allclose(pooled, classifier.pool([torch.cat([calm, wild])]), atol=1e-4)
    means, squares = pooled.flatten(1).split(network.channels[0], dim=1)
    assert squares[20:].mean() - squares[:20].mean() > 1.5
    assert abs(means[20:].mean() - means[:20].mean()) < 0.2


def test_bias_of_the_head_is_the_class_prior():
    """Three of four images are of the first class: without features, the probabilities are those shares."""
    classifier = Classifier(efficientnet_lite.load_backbone((15,)), 2, 64)
    classifier.set_class_priors(torch.tensor([0.3, 0.1]))
    with torch.inference_mode():
        scores = classifier(classifier.backbone(torch.zeros(1, 3, 64, 64)))[0].flatten()
    assert torch.softmax(scores, 0).tolist() == pytest.approx([0.75, 0.25])


# Whole builds


def test_build_measures_classifier_and_meets_the_goal(class_build, class_bundle):
    manifest, measured = class_bundle.manifest, class_build.manifest.measured
    assert class_build.verdict.met, class_build.verdict.missed
    assert manifest.labels == ("good", "scratch", "spot", "unknown")
    assert manifest.normal == ("good",)
    assert manifest.output("scores").shape == (1, 3, 1, 1)
    assert measured["parity_max_steps"] <= 1
    assert measured["accuracy_int8_tflite"] >= 0.8
    counts = np.array(measured["confusion"])
    assert counts.sum() == measured["images"]["test"]
    assert counts.trace() / counts.sum() == pytest.approx(measured["accuracy_int8_onnx"])
    assert measured["answered"] + sum(measured["unknown"]) == counts.sum()
    page = class_bundle.members["report.html"].decode()
    assert "Expected calibration error" in page
    assert "called scratch" in page


def test_anomaly_manifest_has_no_classifier_keys(anomaly_bundle):
    """Older runtimes refuse unknown keys, so a manifest has no keys that its task does not need."""
    assert {"temperature", "normal"}.isdisjoint(json.loads(encode_manifest(anomaly_bundle.manifest)))


def test_verify_measures_classifier(class_build, class_images, key_folder, call_vedette):
    done = call_vedette("verify", class_build.bundle, "--data", class_images / "kinds", "--keys", key_folder, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["verified"]
    assert report["images"] == {"good": 40, "scratch": 24, "spot": 12}
    assert report["accuracy_int8_onnx"] == pytest.approx(report["accuracy_int8_tflite"], abs=0.03)
    assert np.trace(report["confusion"]["onnx"]) / 76 == pytest.approx(report["accuracy_int8_onnx"])
    text = call_vedette("verify", class_build.bundle, "--data", class_images / "kinds", "--keys", key_folder)
    assert "ECE" in text.stdout
    wrong = call_vedette("verify", class_build.bundle, "--data", class_images, "--keys", key_folder)
    assert wrong.returncode == 2
    assert "good, scratch, spot" in wrong.stderr


def test_each_defect_becomes_an_event_with_its_class(
    classifier_process, class_images, broker, subscriber, wait_until, tmp_path
):
    """Good, scratch, good, spot, …: the daemon sends an event with the class of each defect to a real broker."""
    (tmp_path / "line").mkdir()
    shown = ["good", "scratch", "good", "spot"] * 3
    for number, kind in enumerate(shown):
        source = sorted((class_images / "kinds" / kind).iterdir())[number]
        (tmp_path / "line" / f"{number:02d}.png").symlink_to(source)
    broker.start()
    wait_until(subscriber.subscribed.is_set, "the subscription")
    classifier_process.configure(f"file:{tmp_path / 'line'}?fps=0", f"mqtt://127.0.0.1:{broker.port}")
    assert classifier_process.start().wait(60) == 0, classifier_process.log()
    wait_until(
        lambda: classifier_process.recorded() and len(subscriber.events) == classifier_process.recorded(), "all events"
    )
    news = [event["data"] for event in subscriber.events if event["type"] == "vedette.presence.new"]
    called = {event["frame"]: event["predictions"][0]["label"] for event in news}
    assert len(called) >= 4, "most of the six defects"
    assert sum(shown[frame] == label for frame, label in called.items()) >= len(called) - 1
    assert all(0 < event["predictions"][0]["score"] <= 1 for event in news)


def test_rule_that_needs_boxes_refuses_a_classifier(classifier_process, class_images):
    classifier_process.configure(f"file:{class_images / 'kinds' / 'good'}?fps=0", "mqtt://127.0.0.1:1")
    path = classifier_process.camera_file
    path.write_text(path.read_text().replace('"presence"\nhysteresis = 0.0', '"dwell"\nseconds = 3.0'))
    assert classifier_process.start().wait(60) == 2, classifier_process.log()
    assert "door.toml: rules[0]: dwell: the predictions of this bundle have no boxes" in classifier_process.log()
