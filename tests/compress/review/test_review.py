"""The review: what it finds in files, in rounding and under corruptions, and that honest models pass."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import msgspec
import numpy as np
import onnx
import pytest
import rounding_backdoor
from ai_edge_litert import schema_py_generated as schema
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from vedette.compress.evaluation.built_models import draft_manifest
from vedette.compress.goal.goal_tables import DataSettings, Goal, Targets
from vedette.compress.report.verdict import judge
from vedette.compress.review import bundle_review, corruptions, decisions, graph_checks, quantization_behavior
from vedette.compress.review.finding import SEVERITIES, Finding, Review, RobustnessRow
from vedette.compress.review.resource_checks import measure_memory
from vedette.compress.review.review import ModelReview
from vedette.compress.review.subject import BUILD_EFFORT, ReviewImages
from vedette.compress.review.triggers import trigger_library
from vedette.runtime.bundle import keys
from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.manifest import Inspection, InspectionArea
from vedette.runtime.cli import vedette
from vedette.runtime.evaluation import bundle_verification
from vedette.runtime.inference import backends

# Rounding


def severities(seed, backdoor):
    case = rounding_backdoor.make_case(seed, backdoor)
    if backdoor:  # the attack must work, or the test shows nothing
        assert (case.success, case.dormant, case.clean_accuracy) >= (0.85, 0.0, 0.85)
        assert case.dormant <= 0.05
    found = quantization_behavior.compare_models(rounding_backdoor.make_subject(case), case.images[:24])
    return {each.severity for each in found}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 3])
def test_a_backdoor_in_the_rounding_is_named_and_its_control_passes(seed):
    assert "high" in severities(seed, backdoor=True)
    assert not severities(seed, backdoor=False) & {"high", "medium"}


@pytest.mark.slow
def test_backdoors_of_ten_seeds_are_named_and_their_controls_pass():
    assert [seed for seed in range(10) if "high" not in severities(seed, backdoor=True)] == []
    assert [seed for seed in range(10) if "high" in severities(seed, backdoor=False)] == []


def test_every_trigger_changes_an_image_and_keeps_its_form():
    image = np.random.default_rng(0).integers(40, 200, (48, 64, 3)).astype(np.uint8)
    for name, trigger in trigger_library().items():
        changed = trigger(image)
        assert (changed.shape, changed.dtype) == (image.shape, image.dtype), name
        assert (changed != image).any(), name


# Files


def graph_of(*nodes, constants=(), domain=""):
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("a", "b")]
    graph = helper.make_graph(list(nodes), "g", [ends[0]], [ends[1]], list(constants))
    opsets = [helper.make_opsetid("", 17)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(graph, opset_imports=opsets)


def external():
    tensor = helper.make_tensor("w", TensorProto.FLOAT, [4], np.zeros(4, np.float32).tobytes(), raw=True)
    onnx.external_data_helper.set_external_data(tensor, location="../../etc/shadow")
    return graph_of(helper.make_node("Add", ["a", "w"], ["b"]), constants=[tensor])


def foreign():
    return graph_of(helper.make_node("Run", ["a"], ["b"], domain="evil"), domain="evil")


def endless():
    body = helper.make_graph([], "body", [], [])
    return graph_of(helper.make_node("Loop", ["a", "", "a"], ["b"], body=body))


def huge():
    tensor = helper.make_tensor("w", TensorProto.FLOAT, [4], np.zeros(4, np.float32).tobytes(), raw=True)
    tensor.dims[:] = [6_000_000_000]
    return graph_of(helper.make_node("Add", ["a", "w"], ["b"]), constants=[tensor])


def infinite():
    tensor = helper.make_tensor("w", TensorProto.FLOAT, [4], [1.0, float("inf"), 1.0, 1.0])
    return graph_of(helper.make_node("Add", ["a", "w"], ["b"]), constants=[tensor])


@pytest.mark.parametrize("make", [external, foreign, endless, huge, infinite])
def test_a_harmful_onnx_graph_is_named(make):
    found = list(graph_checks.check_onnx(make().SerializeToString()))
    assert [each for each in found if each.severity == "high"]


@given(st.binary(max_size=200))
def test_any_bytes_are_judged_without_a_traceback(content):
    for check in (graph_checks.check_onnx, graph_checks.check_tflite):
        list(check(content))
    list(graph_checks.check_tflite(content[:4].ljust(4, b"\0") + b"TFL3" + content))


def altered_tflite(content, change):
    import flatbuffers

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    change(model)
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def name_custom(model):
    model.operatorCodes[0].customCode = b"FlexAdd"


def point_outside(model):
    model.subgraphs[0].tensors[0].buffer = 10_000


def use_missing_tensor(model):
    model.subgraphs[0].operators[0].inputs = [10_000]


@pytest.mark.build
@pytest.mark.parametrize("change", [name_custom, point_outside, use_missing_tensor])
def test_a_harmful_tflite_file_is_named(anomaly_bundle, change):
    content = anomaly_bundle.model("tflite")
    assert list(graph_checks.check_tflite(content)) == []
    found = list(graph_checks.check_tflite(altered_tflite(content, change)))
    assert [each.severity for each in found] == ["high"] * len(found) != []


@pytest.mark.build
def test_memory_counts_weights_and_the_largest_step(anomaly_bundle):
    content = anomaly_bundle.model("onnx")
    weights, largest = measure_memory(onnx.load_from_string(content))
    assert 0.5 * len(content) < weights < len(content)
    side = anomaly_bundle.manifest.input.width
    assert largest >= 2 * 3 * side * side  # the layout change of the image alone has that many bytes in and out


# Corruptions


@pytest.mark.parametrize("kind", corruptions.CORRUPTIONS)
def test_a_corruption_repeats_exactly_and_grows_with_its_strength(kind):
    image = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 256, (256, 256, 3)).astype(np.uint8), (0, 0), 1)
    changed = [corruptions.corrupt(image, kind, strength, seed=3) for strength in corruptions.STRENGTHS]
    again = [corruptions.corrupt(image, kind, strength, seed=3) for strength in corruptions.STRENGTHS]
    assert all(np.array_equal(*pair) for pair in zip(changed, again, strict=True))
    distances = [float(np.abs(each.astype(int) - image).mean()) for each in changed]
    assert 0 < distances[0] < distances[1] < distances[2]


def test_a_sample_has_as_many_of_each_label_and_is_always_the_same():
    images = ReviewImages([Path(f"{n}") for n in range(30)], [0] * 20 + [1] * 10)
    sample = images.sample(12, doubled=0)
    assert sample.labels is not None
    assert (sample.labels.count(0), sample.labels.count(1)) == (8, 4)
    assert sample == images.sample(12, doubled=0)
    assert images.sample(100).paths == images.paths


# Build and command


@pytest.mark.build
def test_a_build_reports_its_review(anomaly_build):
    review = anomaly_build.review
    assert {row.corruption for row in review.robustness} == {"clean", *corruptions.CORRUPTIONS}
    assert review.severity in SEVERITIES
    assert any(each.check == "quantization" and "no trigger" in each.what for each in review.findings)
    page = anomaly_build.report.read_text()
    report = json.loads(anomaly_build.report.with_suffix(".json").read_text())
    assert "Security review" in page
    assert [each["what"] for each in report["review"]["findings"]] == [each.what for each in review.findings]


@pytest.mark.build
def test_false_alarms_are_those_of_the_device(anomaly_build, anomaly_bundle, tmp_path):
    """The daemon's own code counts the same on the same images, clean and under noise."""
    split, manifest = anomaly_build.split, anomaly_bundle.manifest
    images = ReviewImages([*split.test, *split.defect], [0] * len(split.test) + [1] * len(split.defect))
    sample = images.sample(BUILD_EFFORT.robustness_images, doubled=0)
    assert sample.labels is not None
    backend = backends.load_backend("onnx", anomaly_bundle, 1)
    for row in anomaly_build.review.robustness:
        if row.corruption not in ("clean", "noise"):
            continue
        paths = []
        for seed, (image, label) in enumerate(zip(sample.read(), sample.labels, strict=True)):
            if label == 0:
                changed = image if row.strength == 0 else corruptions.corrupt(image, "noise", row.strength, seed)
                paths.append(tmp_path / f"{row.strength}-{seed}.png")
                cv2.imwrite(str(paths[-1]), changed)
        scores = bundle_verification.score_images(anomaly_bundle, backend, paths)
        alarms = sum(score >= manifest.threshold for score in scores)
        assert (alarms, len(paths)) == (row.false_alarms_int8, row.of_int8)


@pytest.mark.build
def test_the_command_compares_with_the_float_model(anomaly_images, anomaly_build, key_folder, tmp_path):
    page = tmp_path / "review.html"
    arguments = ["review", str(anomaly_build.bundle), "--data", str(anomaly_images), "--keys", str(key_folder)]
    done = CliRunner().invoke(vedette, [*arguments, "--json", "--html", str(page)])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert any("no trigger" in each["what"] for each in found["findings"])
    assert all(row["metric_float"] is not None for row in found["robustness"])
    assert "Security review" in page.read_text()


@pytest.mark.build
def test_the_review_blackens_the_zones_of_the_build(anomaly_images, anomaly_bundle, monkeypatch):
    zones = [[[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]]]
    manifest = anomaly_bundle.manifest
    changed = msgspec.structs.replace(manifest, measured=manifest.measured | {"privacy": zones})
    seen = []

    def look(subject, graphs):
        assert [each.severity for each in graphs] == ["info"]  # checked before the models were loaded, and not again
        seen.extend(subject.images.read()[:1])
        return ModelReview(tuple(graphs))

    monkeypatch.setattr(bundle_review, "review_models", look)
    bundle = Bundle(anomaly_bundle.path, changed, anomaly_bundle.members, anomaly_bundle.manifest_sha256)
    bundle_review.review_bundle(bundle, anomaly_images)
    (image,) = seen
    assert image[:, : image.shape[1] // 2].max() == 0 < image.max()


@pytest.mark.build
def test_a_signed_bundle_with_code_in_it_exits_1_and_runs_no_model(anomaly_bundle, key_folder, tmp_path):
    from vedette.compress.export.bundle_writer import sign_bundle

    members = anomaly_bundle.members | {"weights.pkl": b"cos\nsystem\n"}
    _, content = sign_bundle(anomaly_bundle.manifest, members, keys.read_private_key(key_folder / "vedette.key"))
    (tmp_path / "odd.vedette").write_bytes(content)
    done = CliRunner().invoke(vedette, ["review", str(tmp_path / "odd.vedette"), "--keys", str(key_folder)])
    assert done.exit_code == 1
    assert "weights.pkl" in done.output


# Goals

ROW = RobustnessRow(
    corruption="clean", strength=0, setting="", metric_float=1.0, metric_int8=1.0, false_alarms_float=0,
    false_alarms_int8=1, of_float=40, of_int8=40,
)  # fmt: skip


def review_with(severity, alarms):
    noisy = msgspec.structs.replace(ROW, corruption="noise", strength=3, false_alarms_int8=alarms)
    return Review(bundle="b", findings=(Finding(severity, "graph", "odd", "here", "mend"),), robustness=(ROW, noisy))


@pytest.mark.build
@pytest.mark.parametrize(
    ("severity", "alarms", "met"),
    [("low", 1, (True, True)), ("medium", 1, (True, True)), ("high", 1, (False, True)), ("low", 20, (True, False))],
)
def test_a_goal_may_gate_the_review(anomaly_build, severity, alarms, met):
    targets = Targets(max_review_severity="medium", max_false_alarm_shift=0.1)
    goal = Goal(name="g", task="anomaly", data=DataSettings(), goal=targets)
    verdict = judge(goal, anomaly_build.results, anomaly_build.costs, review_with(severity, alarms))
    assert tuple(each.met for each in verdict.judgements) == met
    assert len(verdict.missed) == met.count(False)


def test_without_images_a_gate_on_false_alarms_is_not_proven(anomaly_build):
    targets = Targets(max_false_alarm_shift=0.1)
    goal = Goal(name="g", task="anomaly", data=DataSettings(), goal=targets)
    verdict = judge(goal, anomaly_build.results, anomaly_build.costs, Review(bundle="b", findings=()))
    assert [each.met for each in verdict.judgements] == [None]


def test_only_numbers_of_a_goal_are_in_the_manifest(anomaly_bundle):
    """A runtime that knows no review reads the manifest: its goal is a table of numbers."""
    targets = Targets(max_review_severity="medium", max_false_alarm_shift=0.1)
    goal = Goal(name="g", task="anomaly", data=DataSettings(), goal=targets)
    made = draft_manifest(goal, onnx.load_from_string(anomaly_bundle.model("onnx")))
    assert made.goal == {"max_false_alarm_shift": 0.1}


@pytest.mark.build
def test_scores_have_the_thresholds_of_areas_as_on_the_device(anomaly_bundle):
    """In an area with a higher threshold, a high cell raises no alarm in the review either; elsewhere it does."""
    manifest = anomaly_bundle.manifest
    area = InspectionArea("label", ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)), offset=3 * manifest.threshold)
    manifest = msgspec.structs.replace(manifest, inspect=Inspection(areas=(area,)))
    rows, columns = manifest.output("map").shape[-2:]
    outputs = []
    for column in (0, columns - 1):
        cells = np.zeros((1, 1, rows, columns), np.float32)
        cells[0, 0, rows // 2, column] = 2 * manifest.threshold
        outputs.append({"score": np.array([2 * manifest.threshold], np.float32), "map": cells})
    assert list(decisions.answer_outputs(outputs, manifest).decisions) == [decisions.GOOD, decisions.ALARM]
