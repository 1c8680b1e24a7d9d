"""The bill of materials in a bundle: valid CycloneDX with a model card, and digests that are those of the files."""

from __future__ import annotations

import hashlib
import json

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from vedette.compress.export import bill_of_materials
from vedette.compress.models import efficientnet_lite


@pytest.fixture
def bill(anomaly_bundle):
    return anomaly_bundle.members[bill_of_materials.MEMBER]


def test_it_is_valid_cyclonedx_with_a_model_card(bill):
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill.decode())
    assert fault is None
    card = json.loads(bill)["metadata"]["component"]["modelCard"]
    assert {each["type"] for each in card["quantitativeAnalysis"]["performanceMetrics"]} == {"auroc"}


def test_digests_are_those_of_the_files(bill, anomaly_bundle, anomaly_build):
    hashes = {each["name"]: each["hashes"][0]["content"] for each in json.loads(bill)["components"] if "hashes" in each}
    for name in ("model.onnx", "model.tflite"):
        assert hashes[name] == hashlib.sha256(anomaly_bundle.members[name]).hexdigest()
    beside = anomaly_build.bundle.with_suffix(".float.onnx").read_bytes()
    assert hashes["weave.float.onnx"] == hashlib.sha256(beside).hexdigest()
    assert anomaly_bundle.manifest.measured["sha256_fp32"] == hashes["weave.float.onnx"]
    weights = efficientnet_lite.find_weights_file().read_bytes()
    assert hashlib.sha256(weights).hexdigest() in hashes.values()
    assert {"torch", "onnxruntime"} <= set(hashes)


def test_equal_builds_have_equal_bills(bill, anomaly_bundle, anomaly_build):
    float_model = anomaly_build.bundle.with_suffix(".float.onnx").read_bytes()
    models = {"fp32": float_model} | {
        f"int8_{backend}": anomaly_bundle.model(backend) for backend in ("onnx", "tflite")
    }
    weights = [efficientnet_lite.find_weights_file()]
    assert bill_of_materials.render_bill(anomaly_bundle.manifest, models, weights) == bill
