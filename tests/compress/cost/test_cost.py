"""The cost of a model on a device: operator counts of its graph, and predictions from the profiles."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from paths import ROOT

from vedette import devices
from vedette.compress.cost import design_cost, operator_counts
from vedette.compress.graph.torch_export import export_to_onnx
from vedette.compress.models import efficientnet_lite
from vedette.compress.models.anomaly.padim import Padim
from vedette.devices.cost_model import OperatorCount
from vedette.runtime.bundle.manifest import ONNX

ARM64 = ROOT / "build" / "arm64"
COUNTED = ("zero2w", "pi3", "pi4", "pi5", "jetson-orin-nano")


@pytest.fixture(scope="module")
def graphs(anomaly_build, anomaly_bundle):
    """The float and the int8 graph of the anomaly build."""
    stem = anomaly_build.bundle.name.removesuffix(".vedette")
    return onnx.load(anomaly_build.bundle.with_name(f"{stem}.float.onnx")), onnx.load_from_string(
        anomaly_bundle.model(ONNX)
    )


def convolution(channels, kernel=1, group=1, size=8, clip=True, stride=1):
    """A float graph of one convolution, with or without a Clip after it."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(channels, channels // group, kernel, kernel)).astype(np.float32)
    constants = [numpy_helper.from_array(value, name) for name, value in (("w", weight), ("low", np.float32(0)))]
    form = {"kernel_shape": [kernel] * 2, "group": group, "pads": [kernel // 2] * 4, "strides": [stride] * 2}
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], **form)]
    if clip:
        nodes.append(helper.make_node("Clip", ["y", "low"], ["z"]))
    shape = [1, channels, size, size]
    ends = [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)]
    graph = helper.make_graph(
        nodes, "one", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)], ends, constants
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


def test_counts_of_a_convolution():
    (found,) = operator_counts.count_operators(convolution(16, 3, stride=2))
    assert (found.operator_class, found.precision) == ("dense", "float32")
    assert found.macs == 4 * 4 * 9 * 16 * 16
    assert found.output_elements == 4 * 4 * 16
    assert found.reads == 4 * 4 * 9 * 16, "the patches that are gathered"


@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "kind"),
    [
        (16, 3, 1, "depthwise-3"),
        (16, 3, 2, "depthwise-3-strided"),
        (16, 5, 1, "depthwise-5"),
        (16, 1, 1, "depthwise-1"),
        (18, 3, 1, "depthwise-3-ragged"),
        (18, 3, 2, "depthwise-3-ragged-strided"),
        (18, 5, 1, "depthwise-5-ragged"),
        (16, 7, 1, "whole"),
    ],
)
def test_classes_of_depthwise_convolutions(channels, kernel, stride, kind):
    (found,) = operator_counts.count_operators(convolution(channels, kernel, group=channels, stride=stride))
    assert found.operator_class == kind
    assert found.macs == (8 // stride) ** 2 * kernel**2 * channels


def test_macs_of_the_design_and_of_the_graph_agree():
    network = efficientnet_lite.Backbone((2, 4)).eval()
    detector = Padim(network, 96)
    assert operator_counts.count_macs(export_to_onnx(detector, 96)) == design_cost.estimate_cost(detector, 96).macs


@pytest.mark.parametrize("backend", ["onnx", "tflite"])
def test_cost_is_known_before_quantization(graphs, backend):
    """The float graph, counted as int8, costs as much as the int8 graph."""
    real, integers = graphs
    assert operator_counts.count_macs(real) == operator_counts.count_macs(integers)
    for name in COUNTED:
        profile = devices.load_profile(name)
        before = operator_counts.predict_cost(profile, real, backend, "int8")
        after = operator_counts.predict_cost(profile, integers, backend)
        assert before.instructions == pytest.approx(after.instructions, rel=0.02)
        assert {each.precision for each in operator_counts.count_operators(integers, "tflite")} == {"int8"}


@pytest.mark.skipif(
    not (ARM64 / "counter.so").exists() or shutil.which("qemu-aarch64") is None,
    reason="no instruction counter; make count-arm64 sets it up (root, mmdebstrap, qemu-user)",
)
def test_predictions_agree_with_emulated_counts(anomaly_bundle, graphs, tmp_path):
    """In the emulator, on a model that the cost model was not fitted to."""
    for name, member in anomaly_bundle.manifest.models.items():
        (tmp_path / f"{name}.{member.split('.')[-1]}").write_bytes(anomaly_bundle.members[member])
    cores = {"cortex-a72": "pi4", "cortex-a76": "pi5"}
    command = [sys.executable, ROOT / "tests/bench/arm64/count.py", ARM64, *sorted(tmp_path.iterdir())]
    for core in cores:
        command += ["--core", core]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    counts = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(counts) == 4
    for each in counts:
        found = operator_counts.predict_cost(
            devices.load_profile(cores[each["core"]]), graphs[1], Path(each["model"]).stem
        )
        assert found.instructions_low <= each["instructions"] <= found.instructions_high
        assert (each["dot_products"] > 0) == (each["core"] == "cortex-a76")


def test_int8_gains_more_with_dot_product_instructions(graphs):
    """An A76 has them, an A72 does not. The counts of all models agree (docs/devices.md)."""
    real, integers = graphs
    ratio = {}
    for name in ("pi4", "pi5"):
        profile = devices.load_profile(name)
        float32, int8 = (
            operator_counts.predict_cost(profile, graph, "onnx").instructions for graph in (real, integers)
        )
        ratio[name] = float32 / int8
    assert 1.2 < ratio["pi4"] < 3
    assert ratio["pi4"] * 1.4 < ratio["pi5"]


def test_ragged_channel_count_costs_as_much_as_the_next_full_tile():
    profile = devices.load_profile("pi5")
    ragged, full = (
        operator_counts.predict_cost(profile, convolution(width), "tflite", "int8").instructions for width in (57, 64)
    )
    assert 0.97 * full < ragged <= full


def test_milliseconds_require_an_instruction_rate(graphs):
    pi4, pi5 = (
        operator_counts.predict_cost(devices.load_profile(name), graphs[1], "tflite") for name in ("pi4", "pi5")
    )
    assert pi4.origin == pi5.origin == "predicted from counts"
    assert pi4.ms_low < pi4.ms < pi4.ms_high
    assert pi5.ms is None
    assert "million instructions" in str(pi5)
    assert " ms" not in str(pi5)


def test_unknown_device_or_precision_has_no_prediction(graphs):
    assert operator_counts.predict_cost(devices.load_profile("n100"), graphs[1], "onnx") is None
    assert operator_counts.predict_cost(devices.load_profile("host"), graphs[1], "onnx") is None
    strange = OperatorCount("pointwise", "int16", positions=1, output_channels=8, input_channels=8, taps=1)
    assert devices.load_profile("pi4").predict_cost("onnx", [strange]) is None
