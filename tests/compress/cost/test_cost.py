"""What a model costs on a device: the work in its graph, and the predictions that the profiles make of it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from paths import ROOT

from vedette import devices
from vedette.compress.cost import design_cost, operator_counts
from vedette.compress.graph.torch_export import to_onnx
from vedette.compress.models import efficientnet_lite
from vedette.compress.models.anomaly.padim import Padim
from vedette.devices.cost_model import Cost, CostModel, Costs, Kind, Speed, Tile, Work
from vedette.runtime.bundle.manifest import ONNX

ARM64 = ROOT / "build" / "arm64"
COUNTED = ("zero2w", "pi3", "pi4", "pi5", "jetson-orin-nano")


@pytest.fixture(scope="module")
def graphs(built, bundle):
    """Of the product: float, and int8."""
    stem = built.bundle.name.removesuffix(".vedette")
    return onnx.load(built.bundle.with_name(f"{stem}.float.onnx")), onnx.load_from_string(bundle.model(ONNX))


def convolution(channels, kernel=1, group=1, size=8, clip=True, stride=1):
    """A float graph: one convolution, perhaps clipped."""
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


def test_the_work_of_a_convolution():
    (found,) = operator_counts.of(convolution(16, 3, stride=2))
    assert (found.kind, found.precision) == ("dense", "float32")
    assert found.macs == 4 * 4 * 9 * 16 * 16
    assert found.elements == 4 * 4 * 16
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
def test_kinds_of_depthwise_convolutions(channels, kernel, stride, kind):
    (found,) = operator_counts.of(convolution(channels, kernel, group=channels, stride=stride))
    assert found.kind == kind
    assert found.macs == (8 // stride) ** 2 * kernel**2 * channels


def test_macs_are_those_of_the_network(graphs):
    network = efficientnet_lite.Backbone((2, 4)).eval()
    detector = Padim(network, 96)
    assert operator_counts.macs(to_onnx(detector, 96)) == design_cost.of(detector, 96).macs


@pytest.mark.parametrize("backend", ["onnx", "tflite"])
def test_an_int8_model_is_predicted_before_it_is_quantised(graphs, backend):
    """The float graph, taken as int8, is the same work as the int8 graph, and costs the same."""
    real, integers = graphs
    assert operator_counts.macs(real) == operator_counts.macs(integers)
    for name in COUNTED:
        profile = devices.load(name)
        before = operator_counts.predict(profile, real, backend, "int8")
        after = operator_counts.predict(profile, integers, backend)
        assert before.instructions == pytest.approx(after.instructions, rel=0.02)
        assert {each.precision for each in operator_counts.of(integers, "tflite")} == {"int8"}


@pytest.mark.skipif(
    not (ARM64 / "counter.so").exists() or shutil.which("qemu-aarch64") is None,
    reason="nothing to count with; make count-arm64 sets it up (root, mmdebstrap, qemu-user)",
)
def test_predictions_are_what_is_counted(bundle, graphs, tmp_path):
    """In the emulator, on the product's own model, that nothing was fitted to."""
    for name, member in bundle.manifest.models.items():
        (tmp_path / f"{name}.{member.split('.')[-1]}").write_bytes(bundle.members[member])
    cores = {"cortex-a72": "pi4", "cortex-a76": "pi5"}
    command = [sys.executable, ROOT / "tests/bench/arm64/count.py", ARM64, *sorted(tmp_path.iterdir())]
    for core in cores:
        command += ["--core", core]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    counts = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(counts) == 4
    for each in counts:
        found = operator_counts.predict(devices.load(cores[each["core"]]), graphs[1], Path(each["model"]).stem)
        assert found.instructions_low <= each["instructions"] <= found.instructions_high
        assert (each["dot_products"] > 0) == (each["core"] == "cortex-a76")


def test_int8_pays_where_there_are_dot_products(graphs):
    """An A76 has them and an A72 has not; so it was counted on every model that was (docs/devices.md)."""
    real, integers = graphs
    ratio = {}
    for name in ("pi4", "pi5"):
        profile = devices.load(name)
        float32, int8 = (operator_counts.predict(profile, graph, "onnx").instructions for graph in (real, integers))
        ratio[name] = float32 / int8
    assert 1.2 < ratio["pi4"] < 3
    assert ratio["pi4"] * 1.4 < ratio["pi5"]


def test_a_ragged_width_costs_what_the_next_full_one_does():
    profile = devices.load("pi5")
    ragged, full = (
        operator_counts.predict(profile, convolution(width), "tflite", "int8").instructions for width in (57, 64)
    )
    assert 0.97 * full < ragged <= full


def test_milliseconds_only_where_a_speed_is_known(graphs):
    pi4, pi5 = (operator_counts.predict(devices.load(name), graphs[1], "tflite") for name in ("pi4", "pi5"))
    assert pi4.origin == pi5.origin == "predicted from counts"
    assert pi4.ms_low < pi4.ms < pi4.ms_high
    assert pi5.ms is None
    assert "million instructions" in str(pi5)
    assert " ms" not in str(pi5)


def test_nothing_is_predicted_where_nothing_is_known(graphs):
    assert operator_counts.predict(devices.load("n100"), graphs[1], "onnx") is None
    assert operator_counts.predict(devices.load("host"), graphs[1], "onnx") is None
    strange = Work("pointwise", "int16", places=1, outputs=8, inputs=8, taps=1)
    assert devices.load("pi4").predict("onnx", [strange]) is None


@pytest.mark.parametrize("name", COUNTED)
def test_profiles_say_how_far_off_they_are(name):
    profile = devices.load(name)
    assert {"onnx", "tflite"} == set(profile.costs)
    for model in profile.costs.values():
        assert "counted" in model.source
        for costs in model.precisions.values():
            assert costs.error_worst < 0.1
            assert 0 < costs.error_median <= costs.error_worst <= costs.spread < 0.3
            assert costs.spread <= costs.added_spread < 0.3
            assert set(costs.added) <= set(costs.kinds) <= set(get_args(Kind))


def test_instructions_are_the_sum_that_is_promised():
    costs = Costs({"pointwise": Cost(2, 3, 5, 7, 11, 13)}, 0.01, 0.02, 0.25, Tile(4, 8))
    model = CostModel(100.0, {"int8": costs}, "made up")
    one = Work("pointwise", "int8", places=10, outputs=9, inputs=5, taps=1, reads=50)
    expected = 100 + 2 * 10 * 8 * 16 + 3 * 50 + 5 * 10 * 16 + 7 * 8 * 16 + 11 * 10 + 13
    assert model.instructions([one]) == expected
    profile = msgspec.structs.replace(
        devices.load("pi5"), costs={"onnx": model}, speed=Speed(low=500, high=2000, typical=1000, source="made up")
    )
    found = profile.predict("onnx", [one])
    assert found.instructions_low == expected / 1.25
    assert found.instructions_high == expected / 0.75
    assert found.ms == pytest.approx(expected / 1e6)
    assert found.ms_low == pytest.approx(expected / 1.25 / 2e6)
    assert found.ms_high == pytest.approx(expected / 0.75 / 0.5e6)


def test_kinds_that_were_added_have_a_range_of_their_own():
    known, added = (Work(kind, "int8", places=1, outputs=1) for kind in ("pointwise", "pool"))
    costs = Costs(
        {"pointwise": Cost(per_node=1), "pool": Cost(per_node=1)}, 0.0, 0.0, 0.1, added=("pool",), added_spread=0.2
    )
    model = CostModel(0.0, {"int8": costs}, "made up")
    assert model.spread([known]) == 0.1
    assert model.spread([known, added]) == 0.2
