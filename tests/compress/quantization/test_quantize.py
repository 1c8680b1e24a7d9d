"""The quantise technique on small random networks: what is simulated is what ONNX Runtime computes, and each step
helps.

The network is made of what ours are made of: stem, inverted residual, clips at 6, mean, Gemm.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from vedette.compress.build import BuildRequest, build
from vedette.compress.export.tflite import write_tflite
from vedette.compress.goal import goal_reader
from vedette.compress.goal.recipe import QuantizationSettings
from vedette.compress.graph import torch_module as networks
from vedette.compress.graph.torch_module import OnnxModule
from vedette.compress.quantization import adaround, bias_correction, cross_layer_equalization, qat, qdq_writer
from vedette.compress.quantization import layer_errors as noise
from vedette.compress.quantization.integer_simulation import (
    MAX_WEIGHT_INTEGER,
    IntegerSimulation,
    read_activation_parameters,
)
from vedette.compress.quantization.quantize import (
    convert,
    extract_subgraph,
    make_feeds,
    measure_layer_sensitivities,
    prepare,
    quantize,
)
from vedette.compress.quantization.scales import activation_ranges
from vedette.compress.quantization.sensitivity import select_most_sensitive
from vedette.runtime.bundle import keys
from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.manifest import Manifest, ModelInput, ModelOutput
from vedette.runtime.errors import ConfigProblem, Problem
from vedette.runtime.inference.backends.onnx import EXACT_KERNELS_OPTION

SIZE = 32
SPEC = ModelInput("image", width=SIZE, height=SIZE, mean=127.0, std=128.0, scale=1 / 128, zero_point=127)


def network(seed: int = 0, tail: str = "mean") -> onnx.ModelProto:
    """A float graph with random weights, whose channels differ in range; `tail` says how it ends."""
    rng = np.random.default_rng(seed)
    nodes, constants = [], []

    def constant(name, value):
        constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def layer(name, image, shape, clipped=True, **attributes):
        spread = rng.uniform(0.3, 2.0, shape[0]) * np.sqrt(2 / np.prod(shape[1:]))
        weight = rng.normal(0, 1, shape) * spread.reshape(-1, 1, 1, 1)
        inputs = [image, constant(f"{name}.weight", weight.astype(np.float32))]
        inputs.append(constant(f"{name}.bias", rng.normal(0, 0.5, shape[0]).astype(np.float32)))
        nodes.append(helper.make_node("Conv", inputs, [f"{name}.sum"], name=name, **attributes))
        if not clipped:
            return f"{name}.sum"
        nodes.append(helper.make_node("Clip", [f"{name}.sum", "least", "six"], [name], name=f"{name}.clip"))
        return name

    constant("least", np.float32(0))
    constant("six", np.float32(6))
    x = layer("stem", "image", (8, 3, 3, 3), strides=[2, 2], pads=[0, 0, 1, 1])
    y = layer("expand", x, (16, 8, 1, 1))
    y = layer("depthwise", y, (16, 1, 3, 3), group=16, pads=[1, 1, 1, 1])
    y = layer("project", y, (8, 16, 1, 1), clipped=False)
    nodes.append(helper.make_node("Add", [x, y], ["block"], name="add"))
    nodes.append(helper.make_node("Relu", ["block"], ["positive"], name="relu"))
    x = layer("last", "positive", (12, 8, 1, 1))
    if tail == "mean":
        nodes.append(helper.make_node("ReduceMean", [x, constant("axes", np.array([2, 3]))], ["pooled"], keepdims=0))
        constant("head.weight", rng.normal(0, 0.4, (5, 12)).astype(np.float32))
        constant("head.bias", rng.normal(0, 0.4, 5).astype(np.float32))
        inputs = ["pooled", "head.weight", "head.bias"]
        nodes.append(helper.make_node("Gemm", inputs, ["scores"], name="head", transB=1))
    else:  # as a detector's: deviation from a place's mean, square, enlarged, mean of channels
        centre = constant("centre", rng.normal(-2, 0.5, (1, 12, 16, 16)).astype(np.float32))
        nodes.append(helper.make_node("Add", [x, centre], ["deviation"], name="centre"))
        nodes.append(helper.make_node("Mul", ["deviation", "deviation"], ["square"], name="square"))
        nodes.append(
            helper.make_node(
                "Resize", ["square", "", constant("twice", np.float32([1, 1, 2, 2]))], ["large"], name="large"
            )
        )
        layer("map", "large", (1, 12, 1, 1), clipped=False)
        nodes[-1].output[0] = "scores"
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIZE, SIZE])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "small", [image], [scores], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def pictures(count: int, seed: int = 0) -> list[np.ndarray]:
    """1 x 32 x 32 x 3, u8, each a few blots on its own ground."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 1, 4, 4, 3))
    fine = rng.integers(-20, 21, (count, 1, SIZE, SIZE, 3))
    return list((coarse.repeat(8, axis=2).repeat(8, axis=3) + fine).clip(0, 255).astype(np.uint8))


def float_outputs(model, images):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, feed)[0] for feed in make_feeds(model, images, SPEC)])


def int8_outputs(int8, images):
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(*EXACT_KERNELS_OPTION)
    session = onnxruntime.InferenceSession(int8.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"image": image})[0] for image in images]).astype(int)


def simulated_outputs(model, int8, images):
    simulated = IntegerSimulation(model, int8)
    grid = simulated.activation_parameters["scores"]
    with torch.inference_mode():
        real = simulated(qat.normalize_images(images, SPEC))[0]
    return (real / grid.scale + grid.zero_point).round().numpy().astype(int)


def real_outputs(model, int8, images):
    grid = IntegerSimulation(model, int8).activation_parameters["scores"]
    return (int8_outputs(int8, images) - float(grid.zero_point)) * float(grid.scale)


def loss(model, int8, images):
    """Mean square of what is lost, in units of the outputs' own."""
    truth = float_outputs(model, images)
    return float(((real_outputs(model, int8, images) - truth) ** 2).mean() / (truth**2).mean())


def pair(model, images):
    """The float network and its simulation, plainly quantised."""
    return OnnxModule(model), IntegerSimulation(model, quantize(QuantizationSettings(), model, images, SPEC))


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), tail=st.sampled_from(["mean", "map"]))
def test_the_graph_in_torch_computes_what_onnx_runtime_does(seed, tail):
    model, images = network(seed, tail), pictures(3, seed)
    with torch.inference_mode():
        made = OnnxModule(model)(qat.normalize_images(images, SPEC))[0].numpy()
    truth = float_outputs(model, images)
    assert np.abs(made - truth).max() < 1e-5 * max(np.abs(truth).max(), 1)


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), kind=st.sampled_from(activation_ranges.RANGE_METHODS))
def test_the_simulation_computes_the_integers_of_onnx_runtime(seed, kind):
    model, images = network(seed), pictures(6, seed)
    int8 = quantize(QuantizationSettings(ranges=kind), model, images, SPEC)
    held = pictures(4, seed + 1)
    np.testing.assert_array_equal(simulated_outputs(model, int8, held), int8_outputs(int8, held))


@settings(max_examples=10)
@given(seed=st.integers(0, 10_000))
def test_the_simulation_of_a_detector_is_at_most_a_step_away(seed):
    model, images = network(seed, "map"), pictures(6, seed)
    int8 = quantize(QuantizationSettings(), model, images, SPEC)
    apart = np.abs(simulated_outputs(model, int8, images) - int8_outputs(int8, images))
    assert apart.max() <= 1
    assert (apart > 0).mean() < 0.01


def test_a_clip_that_is_added_to_something_wider_still_clips():
    model, images = network(13), pictures(8)  # its stem is clipped, and added to what is not
    assert loss(model, quantize(QuantizationSettings(), model, images, SPEC), images) < 0.01
    names = [name for node in model.graph.node for name in node.output]
    wide = dict.fromkeys(names, (-9.0, 9.0)) | {"image": (-127 / 128, 1.0)}
    int8 = qdq_writer.quantize_with_ranges(model, wide, make_feeds(model, images, SPEC)[0])
    assert "stem.clip" in {node.name for node in int8.graph.node}
    assert loss(model, int8, images) < 0.1
    np.testing.assert_array_equal(simulated_outputs(model, int8, images), int8_outputs(int8, images))


def test_weights_without_gradient_through_rounding_would_not_learn():
    model, images = network(), pictures(4)
    _, simulated = pair(model, images)
    simulated(qat.normalize_images(images, SPEC))[0].square().sum().backward()
    assert all(float(parameter.grad.abs().max()) > 0 for parameter in simulated.parameters())


def test_an_operator_without_counterpart_is_named():
    graph = helper.make_graph(
        [helper.make_node("Softplus", ["image"], ["scores"], name="the end")],
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 3, 8, 8])],
    )
    with pytest.raises(Problem, match="'the end' is a Softplus"):
        OnnxModule(helper.make_model(graph))


counts = st.lists(st.integers(0, 1000), min_size=64, max_size=64).filter(any)


@given(counts, st.floats(-10, 0), st.floats(0.1, 10), st.sampled_from(activation_ranges.RANGE_METHODS))
def test_a_range_holds_zero_and_is_never_wider_than_what_was_seen(counts, low, high, kind):
    found = activation_ranges.choose_range(np.array(counts), (low, high), kind, 99.0)
    assert low <= found[0] <= 0 <= found[1] <= high


def test_what_is_rare_is_cut_off_and_what_is_common_is_not():
    values = np.r_[np.random.default_rng(0).normal(0, 1, 1_000_000), 40.0]
    seen = float(values.min()), float(values.max())
    histogram = np.histogram(values, activation_ranges.HISTOGRAM_BINS, seen)[0]
    assert activation_ranges.choose_range(histogram, seen, "minmax", 99.99) == seen
    for kind in ("percentile", "mse", "entropy"):
        low, high = activation_ranges.choose_range(histogram, seen, kind, 99.99)
        assert high < 20, kind
        assert low < -2, kind
        assert ((values < low) | (values > high)).mean() < 0.02, kind


def test_mse_is_the_least_of_all_ranges_that_were_tried():
    values = np.random.default_rng(1).exponential(1.0, 50_000)
    seen = 0.0, float(values.max())
    low, high = activation_ranges.choose_range(
        np.histogram(values, activation_ranges.HISTOGRAM_BINS, seen)[0], seen, "mse", 99.99
    )

    def lost(end):
        scale = end / 255
        return ((np.round(values.clip(low, end) / scale) * scale - values) ** 2).mean()

    assert lost(high) <= min(lost(share * seen[1]) for share in (0.4, 0.6, 0.8, 1.0)) * 1.02


@pytest.mark.parametrize("zeros", [0, 1_000_000])
def test_entropy_keeps_what_a_relu6_gives_however_many_zeros_there_are(zeros):
    rng = np.random.default_rng(2)
    values = np.r_[rng.normal(1.5, 2.0, 200_000).clip(0, 6), np.zeros(zeros)]
    histogram = np.histogram(values, activation_ranges.HISTOGRAM_BINS, (0.0, 6.0))[0]
    assert activation_ranges.choose_range(histogram, (0.0, 6.0), "entropy", 99.99) == (0.0, 6.0)


def test_entropy_is_the_least_divergence_of_all_cuts_that_were_tried():
    """Against the method word by word: magnitudes that were never folded, one level after the other."""
    values = np.abs(np.random.default_rng(3).standard_t(3, 100_000))
    reach = float(values.max())
    counts = np.histogram(values, 2048, (0.0, reach))[0]
    counts[0] = min(counts[:2])

    def diverged(end):
        reference, copy = counts[:end].astype(float), np.zeros(end)
        reference[-1] += counts[end:].sum()
        for places in np.array_split(np.arange(end), 256):
            held = places[counts[places] > 0]
            copy[held] = counts[places].sum() / max(len(held), 1)
        p, q = reference / reference.sum(), copy / copy.sum()
        filled = p > 0
        return float((p[filled] * np.log(p[filled] / np.maximum(q[filled], 1e-7))).sum())

    low, high = activation_ranges.choose_range(
        np.histogram(values, 2048, (0.0, reach))[0], (0.0, reach), "entropy", 99.99
    )
    assert low == 0
    ends = range(256, 2049, 8)
    best = min(diverged(end) for end in ends)
    assert diverged(round(high / reach * 2048)) < 1.2 * best + 1e-5
    assert high < 0.8 * reach


def test_entropy_takes_signed_values_by_their_magnitude():
    values = np.random.default_rng(4).normal(0, 1, 200_000)
    values[:20] = -30.0
    seen = float(values.min()), float(values.max())
    low, high = activation_ranges.choose_range(
        np.histogram(values, activation_ranges.HISTOGRAM_BINS, seen)[0], seen, "entropy", 99.99
    )
    assert -10 < low < -3
    assert high == pytest.approx(seen[1], rel=0.4)


def test_equalised_weights_compute_the_same():
    model, images = network(3), pictures(8)
    changed = cross_layer_equalization.equalize_layers(model, qat.normalize_images(images, SPEC))
    np.testing.assert_allclose(float_outputs(changed, images), float_outputs(model, images), atol=1e-4)
    names = {
        one.name for one, other in zip(model.graph.initializer, changed.graph.initializer, strict=True) if one != other
    }
    assert {"expand.weight", "depthwise.weight", "project.weight"} <= names
    assert not {"stem.weight", "last.weight"} & names  # read by two, and by no layer


def test_what_touches_the_clip_is_not_scaled():
    model, images = network(3), pictures(8)
    inputs = qat.normalize_images(images, SPEC)
    with torch.no_grad():
        reach = OnnxModule(model)(inputs, ["expand"])[0].amax(dim=(0, 2, 3))
        changed = cross_layer_equalization.equalize_layers(model, inputs)
        before, after = (OnnxModule(each).get_parameter_by_name("expand.bias") for each in (model, changed))
        assert (reach >= 6).any()
        assert torch.equal(before[reach >= 6], after[reach >= 6])
        assert float(OnnxModule(changed)(inputs, ["expand"])[0].max()) <= 6


def test_tensors_that_are_kept_keep_their_values():
    model, images = network(3), pictures(4)
    inputs = qat.normalize_images(images, SPEC)
    changed = cross_layer_equalization.equalize_layers(model, inputs, {"depthwise"})
    with torch.no_grad():
        before, after = (OnnxModule(each)(inputs, ["depthwise"])[0] for each in (model, changed))
    torch.testing.assert_close(before, after, atol=1e-4, rtol=1e-4)


def test_bias_correction_gives_back_what_is_lost_on_average():
    model, images = network(5), pictures(24)
    exact, simulated = pair(model, images)
    inputs = qat.normalize_images(images, SPEC)

    def shift():
        with torch.no_grad():
            return (simulated(inputs)[0] - exact(inputs)[0]).mean(dim=0).abs().max()

    before = shift()
    bias_correction.correct_biases(exact, simulated, inputs)
    assert shift() < before / 2


def test_learnt_rounding_is_nearer_than_the_nearest_and_on_the_grid():
    model, images = network(7), pictures(24)
    plain = quantize(QuantizationSettings(), model, images, SPEC)
    technique = QuantizationSettings(rounding="learned", rounding_steps=60)
    ready = prepare(technique, model, images, SPEC)
    learnt = convert(technique, ready, images, SPEC)
    held = pictures(24, 9)
    assert loss(model, learnt, held) < loss(model, plain, held)
    network_ = OnnxModule(ready.model)
    for name in ("expand.weight", "depthwise.weight"):
        weight = network_.get_parameter_by_name(name).detach()
        scale = weight.flatten(1).abs().amax(dim=1).reshape(-1, 1, 1, 1) / MAX_WEIGHT_INTEGER
        steps = weight / scale
        assert float((steps - steps.round()).abs().max()) < 1e-3
        before = OnnxModule(model).get_parameter_by_name(name).detach() / scale
        assert float((steps - before).abs().max()) < 1.01  # one up or one down, no more


def test_training_helps_on_images_that_it_did_not_see():
    model, images = network(11), pictures(48)
    technique = QuantizationSettings(bias_correction=True, qat_steps=60, qat_learning_rate=1e-3)
    plain = quantize(QuantizationSettings(), model, images, SPEC)
    taught = quantize(technique, model, images, SPEC, unlabelled=pictures(32, 4))
    held = pictures(32, 9)
    assert loss(model, taught, held) < loss(model, plain, held)


def test_what_was_trained_is_what_onnx_runtime_computes():
    model, images = network(11), pictures(24)
    technique = QuantizationSettings(
        equalize=True, bias_correction=True, qat_steps=10, rounding="learned", rounding_steps=10
    )
    ready = prepare(technique, model, images, SPEC)
    int8 = convert(technique, ready, images, SPEC)
    held = pictures(6, 9)
    np.testing.assert_array_equal(simulated_outputs(ready.model, int8, held), int8_outputs(int8, held))


class Interrupted(Exception):
    pass


def test_training_goes_on_where_it_was_interrupted(tmp_path, monkeypatch):
    model, images = network(2), pictures(16)
    monkeypatch.setattr(qat, "CHECK_INTERVAL", 5)
    technique = QuantizationSettings(qat_steps=20, qat_learning_rate=1e-3)

    def trained(folder):
        return prepare(technique, model, images, SPEC, folder=folder).model.SerializeToString(deterministic=True)

    whole = trained(tmp_path / "whole")
    vary, calls = qat.augment_image, []

    def breaks(*arguments):
        calls.append(1)
        if len(calls) > 12 * min(qat.BATCH_SIZE, 12):  # in the middle, some steps after a check
            raise Interrupted
        return vary(*arguments)

    monkeypatch.setattr(qat, "augment_image", breaks)
    with pytest.raises(Interrupted):
        trained(tmp_path / "broken")
    assert list((tmp_path / "broken").glob("*.pt"))
    monkeypatch.setattr(qat, "augment_image", vary)
    assert trained(tmp_path / "broken") == whole


def test_training_ends_early_where_nothing_is_gained(monkeypatch):
    model, images = network(2), pictures(16)
    monkeypatch.setattr(qat, "CHECK_INTERVAL", 1)
    exact, simulated = pair(model, images)
    seen = []
    monkeypatch.setattr(qat, "augment_image", lambda image, *_: seen.append(1) or image)
    before = simulated.get_parameter_by_name("stem.weight").detach().clone()
    qat.train_quantized_network(
        exact, simulated, qat.mse_objective(["scores"], []), ["stem.weight"], images, SPEC, 1000, 10.0, 0
    )  # far too fast
    assert len(seen) < 30 * qat.BATCH_SIZE
    torch.testing.assert_close(
        simulated.get_parameter_by_name("stem.weight").detach(), before
    )  # the best were the first


def test_the_layer_that_is_to_blame_is_found_and_left_float():
    model, images = network(13), pictures(16)
    for constant in model.graph.initializer:  # one weight so large that the others of its channels have no steps left
        if constant.name == "project.weight":
            weight = numpy_helper.to_array(constant).copy()
            weight[:, 0] = 60.0
            constant.CopyFrom(numpy_helper.from_array(weight, constant.name))
        if constant.name == "depthwise.weight":
            weight = numpy_helper.to_array(constant).copy()
            weight[0] = 0.0
            constant.CopyFrom(numpy_helper.from_array(weight, constant.name))
        if constant.name == "depthwise.bias":
            bias = numpy_helper.to_array(constant).copy()
            bias[0] = 0.0
            constant.CopyFrom(numpy_helper.from_array(bias, constant.name))
    plain = QuantizationSettings()
    ready = prepare(plain, model, images, SPEC)
    int8 = convert(plain, ready, images, SPEC)
    found = measure_layer_sensitivities(ready, int8, images, SPEC)
    assert [each.layer for each in found] == ["stem", "expand", "depthwise", "project", "last", "head"]
    noise = {each.layer: each.sqnr for each in found}
    assert noise["project"] < min(noise["stem"], noise["expand"], noise["depthwise"])
    assert [node.name for node in select_most_sensitive(found, OnnxModule(model), 1)] == ["project"]
    assert min(found, key=lambda each: each.cosine_alone).layer == "project"

    mixed = quantize(QuantizationSettings(float_layers=1), model, images, SPEC)
    held = pictures(16, 9)
    assert loss(model, mixed, held) < loss(model, int8, held) / 2
    with pytest.raises(Problem, match=r"'project' \(project.weight\) is float"):
        write_tflite(mixed)


def heard(exact, int8, images):
    grid = read_activation_parameters(int8)["scores"]
    outputs = (ModelOutput("scores", (1, 5), float(grid.scale), int(grid.zero_point)),)
    blank = dict.fromkeys((field.name for field in msgspec.structs.fields(Manifest)), None)
    return noise.measure_layer_errors(exact, int8, images, Manifest(**(blank | {"input": SPEC, "outputs": outputs})))


# What it costs, layer after layer


@pytest.fixture(scope="module")
def plainly():
    model, images = network(5), pictures(12)
    return model, quantize(QuantizationSettings(), model, images, SPEC), images


def test_noise_is_what_the_simulation_says(plainly):
    model, int8, images = plainly
    found = {layer.name: layer for layer in heard(model, int8, images).layers}
    few = images[: noise.MAX_IMAGES]
    technique = QuantizationSettings()
    simulated = {
        each.weights.removesuffix(".weight"): each
        for each in measure_layer_sensitivities(prepare(technique, model, images, SPEC), int8, few, SPEC)
    }
    assert found.keys() == simulated.keys() == {"stem", "expand", "depthwise", "project", "last", "head"}
    for name in ("project", "head"):  # no Clip stands behind these
        assert found[name].sqnr == pytest.approx(simulated[name].sqnr, abs=0.05)


def test_what_one_layer_moves_is_what_the_whole_network_says(plainly):
    model, int8, images = plainly
    simulated, inputs = IntegerSimulation(model, int8), qat.normalize_images(images[: noise.MAX_IMAGES], SPEC)
    for layer in heard(model, int8, images).layers:
        with torch.inference_mode():
            simulated.rounded_nodes = ()
            truth = simulated(inputs)[0]
            simulated.rounded_nodes = {layer.name}
            assert layer.output_change == pytest.approx(
                float((simulated(inputs)[0] - truth).norm() / truth.norm()), abs=1e-6
            )


def test_the_layer_that_was_spoilt_comes_first():
    model, images = network(13), pictures(12)
    for constant in model.graph.initializer:  # half of its channels are drowned by one weight
        if constant.name == "last.weight":
            weight = numpy_helper.to_array(constant).copy()
            weight[::2, 0] = 25.0
            constant.CopyFrom(numpy_helper.from_array(weight, constant.name))
    found = heard(model, quantize(QuantizationSettings(), model, images, SPEC), images)
    assert found.layers[0].name == "last"
    moved = [layer.output_change for layer in found.layers]
    assert moved == sorted(moved, reverse=True)


def test_a_tensor_that_is_copied_at_its_scale_is_not_taken_for_it():
    model, images = network(5), pictures(12)
    (mean,) = [node for node in model.graph.node if node.op_type == "ReduceMean"]
    pool = helper.make_node("MaxPool", [mean.input[0]], ["most"], name="pool", kernel_shape=[2, 2], strides=[2, 2])
    mean.input[0] = "most"
    model.graph.node.insert(list(model.graph.node).index(mean), pool)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    found = {
        layer.name: layer.sqnr
        for layer in heard(model, quantize(QuantizationSettings(), model, images, SPEC), images).layers
    }
    assert found["last"] > 25


def test_a_network_that_cannot_be_simulated_still_tells_its_noise(plainly, monkeypatch):
    model, int8, images = plainly
    before = {layer.name: layer for layer in heard(model, int8, images).layers}
    monkeypatch.delitem(networks._OPERATORS, "ReduceMean")
    found = heard(model, int8, images).layers
    assert all(layer.output_change is None for layer in found)
    assert {layer.name: layer.sqnr for layer in found} == {name: layer.sqnr for name, layer in before.items()}
    assert [layer.sqnr for layer in found] == sorted(layer.sqnr for layer in found)


def test_each_step_of_a_recipe_is_told_with_what_it_gave(plainly):
    model, _, images = plainly
    technique = QuantizationSettings(
        equalize=True, bias_correction=True, qat_steps=2, rounding="learned", rounding_steps=40
    )
    steps = prepare(technique, model, images, SPEC).steps
    assert [step.name for step in steps] == [
        "ranges, minmax",
        "equalise",
        "bias correction",
        "training",
        "learned rounding",
    ]
    assert all(0 < step.error < 1 and step.seconds >= 0 for step in steps)
    before, after = prepare(QuantizationSettings(bias_correction=True), model, pictures(24), SPEC).steps
    assert after.error < before.error
    assert prepare(technique, model, images, SPEC, ["last"]).float_reference.graph.output[0].name == "scores"
    assert prepare(QuantizationSettings(), model, images, SPEC).steps == ()


def test_what_lies_behind_the_features_is_left_as_it_is():
    model, images = network(5, "map"), pictures(12)
    ready = prepare(
        QuantizationSettings(equalize=True, bias_correction=True, qat_steps=3), model, images, SPEC, ["last"]
    )
    changed = {
        one.name: one != other
        for one, other in zip(model.graph.initializer, ready.model.graph.initializer, strict=True)
    }
    assert changed["stem.bias"]
    assert changed["last.bias"]
    assert not changed["map.weight"]
    assert not changed["map.bias"]
    assert not changed["centre"]
    assert set(ready.ranges) == {
        "image",
        *(name for node in extract_subgraph(model, ["last"]).graph.node for name in node.output),
    }


def test_plain_quantisation_changes_no_weight():
    model = network(5)
    assert prepare(QuantizationSettings(ranges="mse"), model, pictures(2), SPEC).model is model


def test_ranges_that_weights_were_trained_for_hold():
    model, images = network(5), pictures(12)
    technique = QuantizationSettings(bias_correction=True)
    ready = prepare(technique, model, images, SPEC)
    before = IntegerSimulation(
        model, qdq_writer.quantize_with_ranges(model, ready.ranges, make_feeds(model, images, SPEC)[0])
    ).activation_parameters
    after = IntegerSimulation(ready.model, convert(technique, ready, pictures(3, 8), SPEC)).activation_parameters
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name].scale, after[name].scale) for name in before)


GOAL = """\
name = "part"
task = "anomaly"
[data]
good = "."
"""


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        ('use = "shrink"', "recipe.use: unknown 'shrink'"),
        ('use = "quantise"\nrange = "mse"', "quantise: .*unknown field `range`"),
        ('use = "quantise"\nranges = "wide"', "quantise: Invalid enum value 'wide'"),
        ('use = "quantise"\nqat_steps = -1', "quantise: .*>= 0"),
        ('use = "quantise"\n[[recipe]]\nuse = "quantise"', "quantise is there twice"),
    ],
)
def test_a_recipe_that_is_wrong_says_where(tmp_path, recipe, says):
    path = tmp_path / "goal.toml"
    path.write_text(f"{GOAL}[[recipe]]\n{recipe}\n")
    with pytest.raises(ConfigProblem, match=says) as caught:
        goal_reader.read_goal(path)
    assert caught.value.message.startswith(str(path))


def test_a_recipe_sets_the_technique(tmp_path):
    from vedette.compress.goal import recipe as techniques

    path = tmp_path / "goal.toml"
    recipe = '[[recipe]]\nuse = "quantise"\nranges = "mse"\nbias_correction = true\nrounding = "learned"\n'
    path.write_text(GOAL + recipe)
    found = techniques.load_recipe(goal_reader.read_goal(path).recipe)
    assert found == {"quantise": QuantizationSettings(ranges="mse", bias_correction=True, rounding="learned")}
    assert msgspec.structs.asdict(found["quantise"])["qat_steps"] == 0


def test_rounding_takes_only_the_layers_that_it_is_told():
    model, images = network(7), pictures(8)
    exact, simulated = pair(model, images)
    before = {name: simulated.get_parameter_by_name(name).detach().clone() for name in ("stem.weight", "expand.weight")}
    adaround.learn_rounding(exact, simulated, qat.normalize_images(images, SPEC), 5, 0, {"expand"})
    assert torch.equal(before["stem.weight"], simulated.get_parameter_by_name("stem.weight"))
    assert not torch.equal(before["expand.weight"], simulated.get_parameter_by_name("expand.weight"))


def test_a_build_takes_the_recipe(anomaly_images, key_folder, tmp_path):
    """The detector is fitted to the integers of the trained network, and both files agree."""
    recipe = '[[recipe]]\nuse = "quantise"\nranges = "mse"\nequalise = true\nbias_correction = true\nqat_steps = 2\n'
    goal = (anomaly_images / "goal.toml").read_text().replace('name = "weave"', 'name = "taught"')
    path = anomaly_images / "taught.toml"
    path.write_text(f'{goal}detector = "padim"\n{recipe}')
    built = build(BuildRequest(path, tmp_path, keys.read_private_key(key_folder / "vedette.key")))
    measured = built.manifest.measured
    assert min(measured["auroc_int8_onnx"], measured["auroc_int8_tflite"]) > 0.9
    assert measured["parity_max_steps"] <= 1


def test_a_build_that_was_killed_while_training_goes_on_and_ends_the_same(
    anomaly_images, key_folder, keyring, tmp_path
):
    """A process of its own is killed for real behind its first checkpoint; the next one makes the very same files."""
    recipe = '[[recipe]]\nuse = "quantise"\nbias_correction = true\nqat_steps = 30\nqat_rate = 1e-4\n'
    goal = (
        (anomaly_images / "goal.toml").read_text().replace('name = "weave"', 'name = "killed"').replace("= 96", "= 64")
    )
    path = anomaly_images / "killed.toml"
    path.write_text(f'{goal}detector = "padim"\n{recipe}')

    def command(out):
        key = key_folder / "vedette.key"
        return [sys.executable, "-m", "vedette.runtime.cli", "build", str(path), "--out", str(out), "--key", str(key)]

    broken, whole = tmp_path / "broken", tmp_path / "whole"
    with subprocess.Popen(command(broken), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        until = time.monotonic() + 240
        while not (states := list((broken / "killed.work").glob("teaching-*.pt"))):
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < until
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not (broken / "killed.vedette").exists()
    assert torch.load(states[0], weights_only=True)["step"] == 25

    made = {}
    for out in (broken, whole):
        done = subprocess.run(command(out), capture_output=True, text=True, check=False, timeout=240)
        assert done.returncode == 0, done.stderr
        members = Bundle.open(out / "killed.vedette", keyring).members
        made[out] = members["model.onnx"], members["model.tflite"]
    assert made[broken] == made[whole]
    assert list((broken / "killed.work").glob("teaching-*.pt")) == states, "the second began anew"
    assert torch.load(states[0], weights_only=True)["step"] == 30


def test_training_for_other_ranges_is_another_training(tmp_path):
    model, images = network(2), pictures(12)
    for kind in ("minmax", "mse"):
        prepare(QuantizationSettings(ranges=kind, qat_steps=1), model, images, SPEC, folder=tmp_path)
    assert len(list(tmp_path.glob("teaching-*.pt"))) == 2
