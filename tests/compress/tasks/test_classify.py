"""The classifier: fair division, varied pictures, honest confidence, and the whole way to events."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch

from vedette.compress.data import stratified_split
from vedette.compress.data.augmentation import Augment, vary
from vedette.compress.evaluation import confidence_calibration
from vedette.compress.goal import goal_file
from vedette.compress.goal.goal_file import Data
from vedette.compress.models import efficientnet_lite
from vedette.compress.models.classifier_head import Classifier
from vedette.compress.training.classifier_fine_tuning import tune
from vedette.runtime.bundle.manifest import encode
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.evaluation.metrics import calibration_error, confusion, reliability, share_interval
from vedette.runtime.inference.heads.classify import softmax

PARTS = ("fit", "calibrate", "threshold", "test")

# The division


@pytest.fixture
def folder(tmp_path):
    """160 good, 80 bent and 20 torn parts; four pictures of each, bent and torn ones of the same part share a group."""
    for name, count in (("good", 160), ("bent", 80), ("torn", 20)):
        (tmp_path / "all" / name / "deeper").mkdir(parents=True)
        for number in range(count):
            part = number // 4 + (0 if name == "good" else 100)
            cv2.imwrite(str(tmp_path / "all" / name / "deeper" / f"part{part:03d}-{number}.png"), np.zeros((4, 4)))
    return tmp_path


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("group", [None, r"part(\d+)"])
def test_every_part_gets_its_share_of_every_class(folder, group, seed):
    split = stratified_split.divide(Data(classes="all", group=group, seed=seed), folder)
    assert split.classes == ("bent", "good", "torn")
    assert split.normal == ("good",)
    paths = [path for part in PARTS for path in getattr(split, part)]
    assert len(paths) == len(set(paths)) == 260
    for number, total in enumerate((80, 160, 20)):
        shares = [split.labels(getattr(split, part)).count(number) / total for part in PARTS]
        assert shares == pytest.approx([0.5, 0.1, 0.15, 0.25], abs=0.05 if group is None else 0.11)


def test_a_group_is_whole_across_classes(folder):
    for path in sorted((folder / "all" / "bent" / "deeper").iterdir())[:16]:
        path.rename(folder / "all" / "torn" / "deeper" / path.name)
    for path in (folder / "all" / "bent" / "deeper").iterdir():
        cv2.imwrite(str(folder / "all" / "good" / path.name), np.zeros((4, 4)))
    for seed in range(5):
        split = stratified_split.divide(Data(classes="all", group=r"part(\d+)", seed=seed), folder)
        homes = {}
        for part in PARTS:
            for path in getattr(split, part):
                homes.setdefault(path.name[:7], set()).add(part)
            assert set(split.labels(getattr(split, part))) == {0, 1, 2}
        assert all(len(home) == 1 for home in homes.values())


def test_good_and_defect_are_classes_too(folder):
    split = stratified_split.divide(Data(good="all/good", defect="all/bent"), folder)
    assert split.classes == ("good", "defect")
    assert split.normal == ("good",)
    assert stratified_split.divide(Data(classes="all", normal=("bent", "good")), folder).normal == ("bent", "good")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (Data(classes="all/good"), "1 classes, at least 2"),
        (Data(classes="all", normal=("fine",)), "no class 'fine'"),
        (Data(good="all", defect="all/bent"), "would count as good and as defect"),
        (Data(classes="all", group="part"), "1 groups"),
    ],
)
def test_what_cannot_be_divided_is_said(folder, data, said):
    with pytest.raises(ConfigProblem, match=said):
        stratified_split.divide(data, folder)


def test_unknown_is_no_class(folder):
    (folder / "all" / "torn").rename(folder / "all" / "unknown")
    with pytest.raises(ConfigProblem, match="no class may be called 'unknown'"):
        stratified_split.divide(Data(classes="all"), folder)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "does not say what the classes are"),
        ('good = "all/good"', "does not say what the classes are"),
        ('classes = "all"\ngood = "all/good"', "does not say what the classes are"),
        ('classes = "all"\nmask = "all"', "data.mask means nothing"),
        ('classes = "none"', "data.classes: no folder"),
        ('classes = "all"\n[model]\nblocks = [3]', "model.blocks means nothing"),
        ('classes = "all"\n[goal]\nfalse_alarm_rate = 0.1', "goal.false_alarm_rate means nothing"),
        ('classes = "all"\n[augment]\nrotate = 999', "rotate"),
    ],
)
def test_a_wrong_goal_file_is_explained(folder, text, said):
    path = folder / "goal.toml"
    path.write_text(f'name = "x"\ntask = "classify"\n[data]\n{text}\n')
    with pytest.raises(ConfigProblem, match=said):
        goal_file.read(path)


# Varied pictures

OFF = {"shift": 0, "rotate": 0, "flip": False, "light": 0, "blur": 0, "noise": 0}
PICTURE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


def test_off_is_off():
    assert np.array_equal(vary(PICTURE, Augment(**OFF), np.random.default_rng(0)), PICTURE)


@pytest.mark.parametrize("key", OFF)
def test_each_switch_varies_and_the_seed_decides(key):
    how = Augment(**OFF | {key: {"flip": True, "blur": 2.0}.get(key, 0.2)})
    first, again = (
        [vary(PICTURE, how, rng) for _ in range(8)] for rng in (np.random.default_rng(3), np.random.default_rng(3))
    )
    assert np.array_equal(first, again)
    assert any(not np.array_equal(each, PICTURE) for each in first)
    assert all(each.shape == PICTURE.shape and each.dtype == np.uint8 for each in first)


def test_by_default_a_scratch_outlives_it():
    """A line one pixel wide and one step of ten in brightness away from its ground is still the darkest thing there."""
    picture = np.full((96, 96, 3), 150, np.uint8)
    picture[48, 20:76] = 125
    rng = np.random.default_rng(0)
    for _ in range(30):
        varied = vary(picture, Augment(), rng).astype(float).mean(axis=2)
        line, ground = np.sort(varied.ravel())[:40].mean(), np.median(varied)
        assert ground - line > 10


# Confidence


def simulated(count, temperature, seed, classes=3):
    """Scores whose probabilities are right where they are divided by `temperature`."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 2, (count, classes))
    truth = np.array([rng.choice(classes, p=each) for each in softmax(scores, 1.0)])
    return scores * temperature, truth


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_is_found(temperature):
    scores, truth = simulated(4000, temperature, 0)
    assert confidence_calibration.fit_temperature(scores, truth) == pytest.approx(temperature, rel=0.1)
    sure = softmax(scores, temperature).max(axis=1)
    assert calibration_error(sure, scores.argmax(axis=1) == truth) < 0.03
    if temperature > 1:
        assert calibration_error(softmax(scores, 1.0).max(axis=1), scores.argmax(axis=1) == truth) > 0.08


def test_answers_are_as_seldom_wrong_as_wished():
    """Over many samples: the answers to unseen images are wrong about as often as the level promises."""
    rates = []
    for seed in range(40):
        line = confidence_calibration.choose(*simulated(400, 1.0, seed), 0.1)
        assert line.promised <= 0.1
        scores, truth = simulated(2000, 1.0, 1000 + seed)
        probabilities = softmax(scores, line.temperature)
        heard = probabilities.max(axis=1) >= line.level
        rates.append((probabilities.argmax(axis=1) != truth)[heard].mean())
        assert abs(heard.mean() - line.coverage) < 0.15
    assert np.mean(rates) < 0.11


def test_a_small_sample_promises_little_and_still_doubts():
    scores = np.array([[3.0, 0], [2, 0], [0, 4], [0, 1]])
    line = confidence_calibration.choose(scores, np.array([0, 0, 1, 1]), 0.05)
    assert line.promised == pytest.approx(1 / 5)
    assert line.coverage == 1
    assert 0.5 < line.level < softmax(np.array([1.0, 0]), line.temperature)[0]
    hopeless = confidence_calibration.choose(scores, np.array([1, 1, 0, 0]), 0.05)
    assert hopeless.promised > 0.9


def test_counts_and_bins():
    assert confusion([0, 0, 1, 2], [0, 1, 1, 2], 3).tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    low, high = share_interval(81, 263)  # the example in Newcombe (1998)
    assert (low, high) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert calibration_error([0.9] * 10, [True] * 9 + [False]) == pytest.approx(0)
    assert calibration_error([0.99] * 4 + [0.6] * 6, [False] * 4 + [True] * 6) == pytest.approx(0.4 * 0.99 + 0.6 * 0.4)
    assert sum(each.images for each in reliability([0, 0.5, 1, 1], [1, 1, 1, 0])) == 4


# Fitting


def test_the_same_seed_fits_the_same_classifier(kinds):
    split = stratified_split.divide(goal_file.read(kinds / "goal.toml").data, kinds)
    spec = efficientnet_lite.input_of(64)
    fitted = []
    for _ in range(2):
        classifier = Classifier(efficientnet_lite.load((15,)), 3, 64)
        tune(classifier, split, spec, Augment(), 1, 0, lambda items, _: items)
        with torch.inference_mode():
            fitted.append(classifier(classifier.backbone(torch.zeros(1, 3, 64, 64)))[0])
    assert torch.equal(fitted[0], fitted[1])
    assert fitted[0].abs().max() > 0


def test_what_only_spreads_is_pooled_too():
    """Two kinds of map with one mean: the squares tell them apart, the means do not."""
    torch.manual_seed(0)
    network = efficientnet_lite.load((10,))
    classifier = Classifier(network, 2, 64)
    calm = 5 + torch.randn(20, network.channels[0], 4, 4)
    wild = 5 + 3 * torch.randn(20, network.channels[0], 4, 4)
    classifier.learn([[calm], [wild]])
    pooled = classifier.standardise(classifier.pool([torch.cat([calm, wild])]))
    assert torch.allclose(pooled, classifier.pool([torch.cat([calm, wild])]), atol=1e-4)
    means, squares = pooled.flatten(1).split(network.channels[0], dim=1)
    assert squares[20:].mean() - squares[:20].mean() > 1.5
    assert abs(means[20:].mean() - means[:20].mean()) < 0.2


def test_classes_are_expected_as_often_as_they_come():
    """Three of four are of the first class; where the picture says nothing, that is all there is to say."""
    classifier = Classifier(efficientnet_lite.load((15,)), 2, 64)
    classifier.expect(torch.tensor([0.3, 0.1]))
    with torch.inference_mode():
        scores = classifier(classifier.backbone(torch.zeros(1, 3, 64, 64)))[0].flatten()
    assert torch.softmax(scores, 0).tolist() == pytest.approx([0.75, 0.25])


# The whole way


def test_a_classifier_is_built_as_wished(built_kinds, kinds_bundle):
    manifest, measured = kinds_bundle.manifest, built_kinds.manifest.measured
    assert built_kinds.verdict.met, built_kinds.verdict.missed
    assert manifest.labels == ("good", "scratch", "spot", "unknown")
    assert manifest.normal == ("good",)
    assert manifest.output("scores").shape == (1, 3, 1, 1)
    assert measured["parity_max_steps"] <= 1
    assert measured["accuracy_int8_tflite"] >= 0.8
    counts = np.array(measured["confusion"])
    assert counts.sum() == measured["images"]["test"]
    assert counts.trace() / counts.sum() == pytest.approx(measured["accuracy_int8_onnx"])
    assert measured["answered"] + sum(measured["unknown"]) == counts.sum()
    page = kinds_bundle.members["report.html"].decode()
    assert "Expected calibration error" in page
    assert "called scratch" in page


def test_an_anomaly_bundle_says_nothing_of_classes(bundle):
    """What an older runtime could read it can still read: no key is written that it does not know."""
    assert {"temperature", "normal"}.isdisjoint(json.loads(encode(bundle.manifest)))


def test_verify_measures_a_classifier(built_kinds, kinds, key_folder, vedette):
    done = vedette("verify", built_kinds.bundle, "--data", kinds / "kinds", "--keys", key_folder, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["verified"]
    assert report["images"] == {"good": 40, "scratch": 24, "spot": 12}
    assert report["accuracy_int8_onnx"] == pytest.approx(report["accuracy_int8_tflite"], abs=0.03)
    assert np.trace(report["confusion"]["onnx"]) / 76 == pytest.approx(report["accuracy_int8_onnx"])
    text = vedette("verify", built_kinds.bundle, "--data", kinds / "kinds", "--keys", key_folder)
    assert "ECE" in text.stdout
    wrong = vedette("verify", built_kinds.bundle, "--data", kinds, "--keys", key_folder)
    assert wrong.returncode == 2
    assert "good, scratch, spot" in wrong.stderr


def test_defects_of_a_kind_become_events(sorter, kinds, broker, subscriber, eventually, tmp_path):
    """Good, scratch, good, spot, …: an event for each defect, with its kind, through the daemon and a real broker."""
    (tmp_path / "line").mkdir()
    shown = ["good", "scratch", "good", "spot"] * 3
    for number, kind in enumerate(shown):
        source = sorted((kinds / "kinds" / kind).iterdir())[number]
        (tmp_path / "line" / f"{number:02d}.png").symlink_to(source)
    broker.start()
    eventually(subscriber.subscribed.is_set, "the subscription")
    sorter.configure(f"file:{tmp_path / 'line'}?fps=0", f"mqtt://127.0.0.1:{broker.port}")
    assert sorter.start().wait(60) == 0, sorter.log()
    eventually(lambda: sorter.recorded() and len(subscriber.events) == sorter.recorded(), "all events")
    news = [event["data"] for event in subscriber.events if event["type"] == "vedette.presence.new"]
    called = {event["frame"]: event["predictions"][0]["label"] for event in news}
    assert len(called) >= 4, "most of the six defects"
    assert sum(shown[frame] == label for frame, label in called.items()) >= len(called) - 1
    assert all(0 < event["predictions"][0]["score"] <= 1 for event in news)


def test_a_rule_about_places_is_not_for_a_classifier(sorter, kinds):
    sorter.configure(f"file:{kinds / 'kinds' / 'good'}?fps=0", "mqtt://127.0.0.1:1")
    path = sorter.folder / "cameras" / "door.toml"
    path.write_text(path.read_text().replace('"presence"\nhysteresis = 0.0', '"dwell"\nseconds = 3.0'))
    assert sorter.start().wait(60) == 2, sorter.log()
    assert "door.toml: rules[0]: dwell: the bundle does not say where" in sorter.log()
