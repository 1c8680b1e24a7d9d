"""The check of p-values tells good test images that are like those of the calibration from others."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from vedette.compress.evaluation.p_values import HeldOutScores, check_p_values
from vedette.runtime.calibration import good_scores
from vedette.runtime.errors import BundleProblem
from vedette.runtime.inference import heads


def make_held_out(rng):
    scores = np.round(rng.normal(100, 10, 150))
    return HeldOutScores(scores, good_scores.summarize(scores, 1.0, 255.0))


def test_like_images_have_uniform_p_values():
    rng = np.random.default_rng(0)
    checks = [check_p_values(make_held_out(rng), np.round(rng.normal(100, 10, 200))) for _ in range(40)]
    assert np.mean([check.probability < 0.1 for check in checks]) < 0.25
    assert 0.06 < np.mean([check.share for check in checks]) < 0.13
    assert all(check.interval[0] <= check.share <= check.interval[1] for check in checks)


def test_other_images_are_told():
    rng = np.random.default_rng(1)
    check = check_p_values(make_held_out(rng), np.round(rng.normal(110, 10, 200)))
    assert check.probability < 1e-6
    assert check.distance > 0.3
    assert check.interval[0] > check.level


def test_build_records_the_scores_of_its_threshold_images(anomaly_build, anomaly_bundle):
    found, measured = anomaly_bundle.manifest.good_scores, anomaly_bundle.manifest.measured
    assert found.images == len(anomaly_build.split.threshold)
    alarm = anomaly_bundle.manifest.threshold + anomaly_bundle.manifest.output("score").scale / 2
    assert found.p_value(alarm) <= measured["threshold"]["promised"] + 1e-3
    assert measured["p_values"]["interval"][0] <= measured["p_values"]["share"] <= measured["p_values"]["interval"][1]
    assert "Events also carry a p-value" in anomaly_bundle.members["report.html"].decode()


def test_prediction_carries_the_p_value_of_its_score(anomaly_bundle):
    head = heads.load_head(anomaly_bundle.manifest)
    for index in range(len(anomaly_bundle.golden("image"))):
        outputs = {output.name: anomaly_bundle.golden(output.name)[index] for output in anomaly_bundle.manifest.outputs}
        (prediction,) = head(outputs)
        expected = anomaly_bundle.manifest.good_scores.p_value(prediction.score)
        assert prediction.p_value == pytest.approx(expected, rel=0.01)


def test_bundle_without_recorded_scores_gives_no_p_value(anomaly_bundle):
    manifest = msgspec.structs.replace(anomaly_bundle.manifest, measured={})
    outputs = {output.name: anomaly_bundle.golden(output.name)[0] for output in manifest.outputs}
    (prediction,) = heads.load_head(manifest)(outputs)
    assert prediction.p_value is None
    assert b"p_value" not in msgspec.json.encode(prediction)


def test_wrong_record_of_scores_is_refused(anomaly_bundle):
    manifest = msgspec.structs.replace(anomaly_bundle.manifest, measured={"good_scores": {"images": "many"}})
    with pytest.raises(BundleProblem, match=r"measured\.good_scores"):
        heads.load_head(manifest)
