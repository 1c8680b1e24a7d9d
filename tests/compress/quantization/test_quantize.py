"""Quantization of small random networks: the simulation equals ONNX Runtime, and each technique reduces the error.

The network has the operators of the product's models: stem, inverted residual, clips at 6, mean, Gemm.
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
from products import write_goal_for

from vedette.compress.export.tflite import write_tflite
from vedette.compress.goal import goal_reader
from vedette.compress.goal.recipe import QuantizationSettings
from vedette.compress.graph import torch_operators as operators
from vedette.compress.graph.torch_module import OnnxModule
from vedette.compress.quantization import (
    adaround,
    bias_correction,
    cross_layer_equalization,
    layer_errors,
    qat,
    qdq_writer,
)
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
from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.manifest import Manifest, ModelInput, ModelOutput
from vedette.runtime.errors import ConfigProblem, Problem
from vedette.runtime.inference.backends.onnx import EXACT_KERNELS_OPTION

SIZE = 32
SPEC = ModelInput("image", width=SIZE, height=SIZE, mean=127.0, std=128.0, scale=1 / 128, zero_point=127)


def make_network(seed: int = 0, tail: str = "mean") -> onnx.ModelProto:
    """Float graph with random weights and different channel ranges; `tail`: `mean` for a classifier head, `map` for an
    anomaly map.
    """
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
    else:  # as in an anomaly model: deviation from the mean of a position, square, upsampling, mean of the channels
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


def make_images(count: int, seed: int = 0) -> list[np.ndarray]:
    """Random images of coarse blocks with noise, each 1 x 32 x 32 x 3, u8."""
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
    simulation = IntegerSimulation(model, int8)
    grid = simulation.activation_parameters["scores"]
    with torch.inference_mode():
        real = simulation(qat.normalize_images(images, SPEC))[0]
    return (real / grid.scale + grid.zero_point).round().numpy().astype(int)


def real_outputs(model, int8, images):
    grid = IntegerSimulation(model, int8).activation_parameters["scores"]
    return (int8_outputs(int8, images) - float(grid.zero_point)) * float(grid.scale)


def relative_error(model, int8, images):
    """Mean square error of the int8 outputs, relative to the mean square of the float outputs."""
    truth = float_outputs(model, images)
    return float(((real_outputs(model, int8, images) - truth) ** 2).mean() / (truth**2).mean())


def quantize_pair(model, images):
    """The float network and its simulation with default settings."""
    return OnnxModule(model), IntegerSimulation(model, quantize(QuantizationSettings(), model, images, SPEC))


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), tail=st.sampled_from(["mean", "map"]))
def test_torch_module_matches_onnx_runtime(seed, tail):
    model, images = make_network(seed, tail), make_images(3, seed)
    with torch.inference_mode():
        outputs = OnnxModule(model)(qat.normalize_images(images, SPEC))[0].numpy()
    truth = float_outputs(model, images)
    assert np.abs(outputs - truth).max() < 1e-5 * max(np.abs(truth).max(), 1)


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), method=st.sampled_from(activation_ranges.RANGE_METHODS))
def test_simulation_equals_onnx_runtime(seed, method):
    model, images = make_network(seed), make_images(6, seed)
    int8 = quantize(QuantizationSettings(ranges=method), model, images, SPEC)
    held_out = make_images(4, seed + 1)
    np.testing.assert_array_equal(simulated_outputs(model, int8, held_out), int8_outputs(int8, held_out))


@settings(max_examples=10)
@given(seed=st.integers(0, 10_000))
def test_simulation_of_anomaly_map_is_within_one_step(seed):
    model, images = make_network(seed, "map"), make_images(6, seed)
    int8 = quantize(QuantizationSettings(), model, images, SPEC)
    steps_apart = np.abs(simulated_outputs(model, int8, images) - int8_outputs(int8, images))
    assert steps_apart.max() <= 1
    assert (steps_apart > 0).mean() < 0.01


def test_clip_is_kept_if_its_output_range_is_wider():
    model, images = make_network(13), make_images(8)  # its stem is clipped, and added to an unclipped tensor
    assert relative_error(model, quantize(QuantizationSettings(), model, images, SPEC), images) < 0.01
    names = [name for node in model.graph.node for name in node.output]
    wide_ranges = dict.fromkeys(names, (-9.0, 9.0)) | {"image": (-127 / 128, 1.0)}
    int8 = qdq_writer.quantize_with_ranges(model, wide_ranges, make_feeds(model, images, SPEC)[0])
    assert "stem.clip" in {node.name for node in int8.graph.node}
    assert relative_error(model, int8, images) < 0.1
    np.testing.assert_array_equal(simulated_outputs(model, int8, images), int8_outputs(int8, images))


def test_rounding_passes_gradients_to_all_parameters():
    model, images = make_network(), make_images(4)
    _, simulation = quantize_pair(model, images)
    simulation(qat.normalize_images(images, SPEC))[0].square().sum().backward()
    assert all(float(parameter.grad.abs().max()) > 0 for parameter in simulation.parameters())


def test_unsupported_operator_is_named_in_error():
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
def test_range_includes_zero_and_stays_within_observed_range(counts, low, high, method):
    chosen = activation_ranges.choose_range(np.array(counts), (low, high), method, 99.0)
    assert low <= chosen[0] <= 0 <= chosen[1] <= high


def test_outlier_is_clamped_and_common_values_are_not():
    values = np.r_[np.random.default_rng(0).normal(0, 1, 1_000_000), 40.0]
    observed = float(values.min()), float(values.max())
    histogram = np.histogram(values, activation_ranges.HISTOGRAM_BINS, observed)[0]
    assert activation_ranges.choose_range(histogram, observed, "minmax", 99.99) == observed
    for method in ("percentile", "mse", "entropy"):
        low, high = activation_ranges.choose_range(histogram, observed, method, 99.99)
        assert high < 20, method
        assert low < -2, method
        assert ((values < low) | (values > high)).mean() < 0.02, method


def test_mse_range_has_smallest_error_of_candidates():
    values = np.random.default_rng(1).exponential(1.0, 50_000)
    observed = 0.0, float(values.max())
    low, high = activation_ranges.choose_range(
        np.histogram(values, activation_ranges.HISTOGRAM_BINS, observed)[0], observed, "mse", 99.99
    )

    def error(end):
        scale = end / 255
        return ((np.round(values.clip(low, end) / scale) * scale - values) ** 2).mean()

    assert error(high) <= min(error(share * observed[1]) for share in (0.4, 0.6, 0.8, 1.0)) * 1.02


@pytest.mark.parametrize("zeros", [0, 1_000_000])
def test_entropy_keeps_relu6_range_with_many_zeros(zeros):
    rng = np.random.default_rng(2)
    values = np.r_[rng.normal(1.5, 2.0, 200_000).clip(0, 6), np.zeros(zeros)]
    histogram = np.histogram(values, activation_ranges.HISTOGRAM_BINS, (0.0, 6.0))[0]
    assert activation_ranges.choose_range(histogram, (0.0, 6.0), "entropy", 99.99) == (0.0, 6.0)


def test_entropy_range_has_smallest_divergence_of_candidates():
    """Compares with a literal implementation: unfolded magnitudes, level by level."""
    values = np.abs(np.random.default_rng(3).standard_t(3, 100_000))
    largest = float(values.max())
    counts = np.histogram(values, 2048, (0.0, largest))[0]
    counts[0] = min(counts[:2])

    def divergence(end):
        reference, copy = counts[:end].astype(float), np.zeros(end)
        reference[-1] += counts[end:].sum()
        for level in np.array_split(np.arange(end), 256):
            occupied = level[counts[level] > 0]
            copy[occupied] = counts[level].sum() / max(len(occupied), 1)
        p, q = reference / reference.sum(), copy / copy.sum()
        filled = p > 0
        return float((p[filled] * np.log(p[filled] / np.maximum(q[filled], 1e-7))).sum())

    low, high = activation_ranges.choose_range(
        np.histogram(values, 2048, (0.0, largest))[0], (0.0, largest), "entropy", 99.99
    )
    assert low == 0
    ends = range(256, 2049, 8)
    best = min(divergence(end) for end in ends)
    assert divergence(round(high / largest * 2048)) < 1.2 * best + 1e-5
    assert high < 0.8 * largest


def test_entropy_range_of_signed_values_uses_magnitudes():
    values = np.random.default_rng(4).normal(0, 1, 200_000)
    values[:20] = -30.0
    observed = float(values.min()), float(values.max())
    low, high = activation_ranges.choose_range(
        np.histogram(values, activation_ranges.HISTOGRAM_BINS, observed)[0], observed, "entropy", 99.99
    )
    assert -10 < low < -3
    assert high == pytest.approx(observed[1], rel=0.4)


def test_equalization_keeps_outputs():
    model, images = make_network(3), make_images(8)
    changed = cross_layer_equalization.equalize_layers(model, qat.normalize_images(images, SPEC))
    np.testing.assert_allclose(float_outputs(changed, images), float_outputs(model, images), atol=1e-4)
    names = {
        one.name for one, other in zip(model.graph.initializer, changed.graph.initializer, strict=True) if one != other
    }
    assert {"expand.weight", "depthwise.weight", "project.weight"} <= names
    assert not {"stem.weight", "last.weight"} & names  # one is read by two nodes, the other by no layer


def test_equalization_does_not_scale_clipped_channels():
    model, images = make_network(3), make_images(8)
    inputs = qat.normalize_images(images, SPEC)
    with torch.no_grad():
        channel_range = OnnxModule(model)(inputs, ["expand"])[0].amax(dim=(0, 2, 3))
        changed = cross_layer_equalization.equalize_layers(model, inputs)
        before, after = (OnnxModule(each).get_parameter_by_name("expand.bias") for each in (model, changed))
        assert (channel_range >= 6).any()
        assert torch.equal(before[channel_range >= 6], after[channel_range >= 6])
        assert float(OnnxModule(changed)(inputs, ["expand"])[0].max()) <= 6


def test_equalization_does_not_change_fixed_tensors():
    model, images = make_network(3), make_images(4)
    inputs = qat.normalize_images(images, SPEC)
    changed = cross_layer_equalization.equalize_layers(model, inputs, {"depthwise"})
    with torch.no_grad():
        before, after = (OnnxModule(each)(inputs, ["depthwise"])[0] for each in (model, changed))
    torch.testing.assert_close(before, after, atol=1e-4, rtol=1e-4)


def test_bias_correction_reduces_mean_output_error():
    model, images = make_network(5), make_images(24)
    float_network, simulation = quantize_pair(model, images)
    inputs = qat.normalize_images(images, SPEC)

    def mean_error():
        with torch.no_grad():
            return (simulation(inputs)[0] - float_network(inputs)[0]).mean(dim=0).abs().max()

    before = mean_error()
    bias_correction.correct_biases(float_network, simulation, inputs)
    assert mean_error() < before / 2


def test_learned_rounding_beats_nearest_and_yields_integers():
    model, images = make_network(7), make_images(24)
    plain = quantize(QuantizationSettings(), model, images, SPEC)
    recipe_settings = QuantizationSettings(rounding="learned", rounding_steps=60)
    prepared = prepare(recipe_settings, model, images, SPEC)
    learned = convert(recipe_settings, prepared, images, SPEC)
    held_out = make_images(24, 9)
    assert relative_error(model, learned, held_out) < relative_error(model, plain, held_out)
    prepared_network = OnnxModule(prepared.model)
    for name in ("expand.weight", "depthwise.weight"):
        weight = prepared_network.get_parameter_by_name(name).detach()
        scale = weight.flatten(1).abs().amax(dim=1).reshape(-1, 1, 1, 1) / MAX_WEIGHT_INTEGER
        steps = weight / scale
        assert float((steps - steps.round()).abs().max()) < 1e-3
        before = OnnxModule(model).get_parameter_by_name(name).detach() / scale
        assert float((steps - before).abs().max()) < 1.01  # by at most one step


def test_qat_reduces_error_on_held_out_images():
    model, images = make_network(11), make_images(48)
    recipe_settings = QuantizationSettings(bias_correction=True, qat_steps=60, qat_learning_rate=1e-3)
    plain = quantize(QuantizationSettings(), model, images, SPEC)
    trained_model = quantize(recipe_settings, model, images, SPEC, unlabeled_images=make_images(32, 4))
    held_out = make_images(32, 9)
    assert relative_error(model, trained_model, held_out) < relative_error(model, plain, held_out)


def test_simulation_equals_onnx_runtime_after_all_techniques():
    model, images = make_network(11), make_images(24)
    recipe_settings = QuantizationSettings(
        equalize=True, bias_correction=True, qat_steps=10, rounding="learned", rounding_steps=10
    )
    prepared = prepare(recipe_settings, model, images, SPEC)
    int8 = convert(recipe_settings, prepared, images, SPEC)
    held_out = make_images(6, 9)
    np.testing.assert_array_equal(simulated_outputs(prepared.model, int8, held_out), int8_outputs(int8, held_out))


class Interrupted(Exception):
    pass


def test_interrupted_qat_resumes_to_same_weights(tmp_path, monkeypatch):
    model, images = make_network(2), make_images(16)
    monkeypatch.setattr(qat, "CHECK_INTERVAL", 5)
    recipe_settings = QuantizationSettings(qat_steps=20, qat_learning_rate=1e-3)

    def train(folder):
        return prepare(recipe_settings, model, images, SPEC, checkpoint_folder=folder).model.SerializeToString(
            deterministic=True
        )

    uninterrupted = train(tmp_path / "whole")
    augment_image, calls = qat.augment_image, []

    def interrupt(*arguments):
        calls.append(1)
        if len(calls) > 12 * min(qat.BATCH_SIZE, 12):  # some steps after a check
            raise Interrupted
        return augment_image(*arguments)

    monkeypatch.setattr(qat, "augment_image", interrupt)
    with pytest.raises(Interrupted):
        train(tmp_path / "broken")
    assert list((tmp_path / "broken").glob("*.pt"))
    monkeypatch.setattr(qat, "augment_image", augment_image)
    assert train(tmp_path / "broken") == uninterrupted


def test_qat_stops_early_and_restores_best_weights(monkeypatch):
    model, images = make_network(2), make_images(16)
    monkeypatch.setattr(qat, "CHECK_INTERVAL", 1)
    float_network, simulation = quantize_pair(model, images)
    calls = []
    monkeypatch.setattr(qat, "augment_image", lambda image, *_: calls.append(1) or image)
    before = simulation.get_parameter_by_name("stem.weight").detach().clone()
    qat.train_quantized_network(
        float_network, simulation, qat.mse_objective(["scores"], []), images, SPEC, 1000, 10.0, 0
    )  # learning rate far too high
    assert len(calls) < 30 * qat.BATCH_SIZE
    torch.testing.assert_close(
        simulation.get_parameter_by_name("stem.weight").detach(), before
    )  # the first weights were the best


def test_most_sensitive_layer_is_found_and_left_float():
    model, images = make_network(13), make_images(16)
    for constant in model.graph.initializer:  # one weight so large that the others of its channel round to 0
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
    prepared = prepare(plain, model, images, SPEC)
    int8 = convert(plain, prepared, images, SPEC)
    sensitivities = measure_layer_sensitivities(prepared, int8, images, SPEC)
    assert [result.layer for result in sensitivities] == ["stem", "expand", "depthwise", "project", "last", "head"]
    sqnr = {result.layer: result.sqnr for result in sensitivities}
    assert sqnr["project"] < min(sqnr["stem"], sqnr["expand"], sqnr["depthwise"])
    assert [node.name for node in select_most_sensitive(sensitivities, OnnxModule(model), 1)] == ["project"]
    assert min(sensitivities, key=lambda result: result.cosine_alone).layer == "project"

    mixed = quantize(QuantizationSettings(float_layers=1), model, images, SPEC)
    held_out = make_images(16, 9)
    assert relative_error(model, mixed, held_out) < relative_error(model, int8, held_out) / 2
    with pytest.raises(Problem, match=r"'project' \(project.weight\) is float"):
        write_tflite(mixed)


def measure_errors(float_model, int8, images):
    grid = read_activation_parameters(int8)["scores"]
    outputs = (ModelOutput("scores", (1, 5), float(grid.scale), int(grid.zero_point)),)
    blank = dict.fromkeys((field.name for field in msgspec.structs.fields(Manifest)), None)
    return layer_errors.measure_layer_errors(
        float_model, int8, images, Manifest(**(blank | {"input": SPEC, "outputs": outputs}))
    )


@pytest.fixture(scope="module")
def quantized_model():
    model, images = make_network(5), make_images(12)
    return model, quantize(QuantizationSettings(), model, images, SPEC), images


def test_layer_sqnr_matches_simulation(quantized_model):
    model, int8, images = quantized_model
    results = {layer.name: layer for layer in measure_errors(model, int8, images).layers}
    few_images = images[: layer_errors.MAX_IMAGES]
    recipe_settings = QuantizationSettings()
    sensitivities = {
        sensitivity.weights.removesuffix(".weight"): sensitivity
        for sensitivity in measure_layer_sensitivities(
            prepare(recipe_settings, model, images, SPEC), int8, few_images, SPEC
        )
    }
    assert results.keys() == sensitivities.keys() == {"stem", "expand", "depthwise", "project", "last", "head"}
    for name in ("project", "head"):  # without a Clip behind them
        assert results[name].sqnr == pytest.approx(sensitivities[name].sqnr, abs=0.05)


def test_output_change_of_layer_matches_full_simulation(quantized_model):
    model, int8, images = quantized_model
    simulation, inputs = IntegerSimulation(model, int8), qat.normalize_images(images[: layer_errors.MAX_IMAGES], SPEC)
    for layer in measure_errors(model, int8, images).layers:
        with torch.inference_mode():
            simulation.rounded_nodes = ()
            truth = simulation(inputs)[0]
            simulation.rounded_nodes = {layer.name}
            assert layer.output_change == pytest.approx(
                float((simulation(inputs)[0] - truth).norm() / truth.norm()), abs=1e-6
            )


def test_layer_with_largest_output_change_comes_first():
    model, images = make_network(13), make_images(12)
    for constant in model.graph.initializer:  # one large weight rounds half of its channels to 0
        if constant.name == "last.weight":
            weight = numpy_helper.to_array(constant).copy()
            weight[::2, 0] = 25.0
            constant.CopyFrom(numpy_helper.from_array(weight, constant.name))
    results = measure_errors(model, quantize(QuantizationSettings(), model, images, SPEC), images)
    assert results.layers[0].name == "last"
    changes = [layer.output_change for layer in results.layers]
    assert changes == sorted(changes, reverse=True)


def test_sqnr_ignores_copies_that_share_scale():
    model, images = make_network(5), make_images(12)
    (mean,) = [node for node in model.graph.node if node.op_type == "ReduceMean"]
    pool = helper.make_node("MaxPool", [mean.input[0]], ["most"], name="pool", kernel_shape=[2, 2], strides=[2, 2])
    mean.input[0] = "most"
    model.graph.node.insert(list(model.graph.node).index(mean), pool)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    results = {
        layer.name: layer.sqnr
        for layer in measure_errors(model, quantize(QuantizationSettings(), model, images, SPEC), images).layers
    }
    assert results["last"] > 25


def test_unsupported_operator_leaves_output_change_unmeasured(quantized_model, monkeypatch):
    model, int8, images = quantized_model
    before = {layer.name: layer for layer in measure_errors(model, int8, images).layers}
    monkeypatch.delitem(operators.OPERATORS, "ReduceMean")
    results = measure_errors(model, int8, images).layers
    assert all(layer.output_change is None for layer in results)
    assert {layer.name: layer.sqnr for layer in results} == {name: layer.sqnr for name, layer in before.items()}
    assert [layer.sqnr for layer in results] == sorted(layer.sqnr for layer in results)


def test_prepare_logs_each_step_with_its_error(quantized_model):
    model, _, images = quantized_model
    recipe_settings = QuantizationSettings(
        equalize=True, bias_correction=True, qat_steps=2, rounding="learned", rounding_steps=40
    )
    steps = prepare(recipe_settings, model, images, SPEC).steps
    assert [step.name for step in steps] == [
        "ranges, minmax",
        "equalise",
        "bias correction",
        "training",
        "learned rounding",
    ]
    assert all(0 < step.error < 1 and step.seconds >= 0 for step in steps)
    before, after = prepare(QuantizationSettings(bias_correction=True), model, make_images(24), SPEC).steps
    assert after.error < before.error
    assert prepare(recipe_settings, model, images, SPEC, ["last"]).float_reference.graph.output[0].name == "scores"
    assert prepare(QuantizationSettings(), model, images, SPEC).steps == ()


def test_prepare_changes_nothing_behind_boundary_tensors():
    model, images = make_network(5, "map"), make_images(12)
    prepared = prepare(
        QuantizationSettings(equalize=True, bias_correction=True, qat_steps=3), model, images, SPEC, ["last"]
    )
    changed = {
        one.name: one != other
        for one, other in zip(model.graph.initializer, prepared.model.graph.initializer, strict=True)
    }
    assert changed["stem.bias"]
    assert changed["last.bias"]
    assert not changed["map.weight"]
    assert not changed["map.bias"]
    assert not changed["centre"]
    assert set(prepared.ranges) == {
        "image",
        *(name for node in extract_subgraph(model, ["last"]).graph.node for name in node.output),
    }


def test_default_settings_change_no_weights():
    model = make_network(5)
    assert prepare(QuantizationSettings(ranges="mse"), model, make_images(2), SPEC).model is model


def test_convert_keeps_ranges_of_prepared_model():
    model, images = make_network(5), make_images(12)
    recipe_settings = QuantizationSettings(bias_correction=True)
    prepared = prepare(recipe_settings, model, images, SPEC)
    before = IntegerSimulation(
        model, qdq_writer.quantize_with_ranges(model, prepared.ranges, make_feeds(model, images, SPEC)[0])
    ).activation_parameters
    after = IntegerSimulation(
        prepared.model, convert(recipe_settings, prepared, make_images(3, 8), SPEC)
    ).activation_parameters
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name].scale, after[name].scale) for name in before)


GOAL = """\
name = "part"
task = "anomaly"
[data]
good = "."
"""


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ('use = "shrink"', "recipe.use: unknown 'shrink'"),
        ('use = "quantise"\nrange = "mse"', "quantise: .*unknown field `range`"),
        ('use = "quantise"\nranges = "wide"', "quantise: Invalid enum value 'wide'"),
        ('use = "quantise"\nqat_steps = -1', "quantise: .*>= 0"),
        ('use = "quantise"\n[[recipe]]\nuse = "quantise"', "quantise is there twice"),
    ],
)
def test_invalid_recipe_is_reported_with_file_and_key(tmp_path, recipe, message):
    path = tmp_path / "goal.toml"
    path.write_text(f"{GOAL}[[recipe]]\n{recipe}\n")
    with pytest.raises(ConfigProblem, match=message) as caught:
        goal_reader.read_goal(path)
    assert caught.value.message.startswith(str(path))


def test_recipe_sets_quantization_settings(tmp_path):
    from vedette.compress.goal.recipe import load_recipe

    path = tmp_path / "goal.toml"
    recipe = '[[recipe]]\nuse = "quantise"\nranges = "mse"\nbias_correction = true\nrounding = "learned"\n'
    path.write_text(GOAL + recipe)
    settings_by_technique = load_recipe(goal_reader.read_goal(path).recipe)
    assert settings_by_technique == {
        "quantise": QuantizationSettings(ranges="mse", bias_correction=True, rounding="learned")
    }
    assert msgspec.structs.asdict(settings_by_technique["quantise"])["qat_steps"] == 0


def test_learned_rounding_changes_only_named_layers():
    model, images = make_network(7), make_images(8)
    float_network, simulation = quantize_pair(model, images)
    before = {
        name: simulation.get_parameter_by_name(name).detach().clone() for name in ("stem.weight", "expand.weight")
    }
    adaround.learn_rounding(float_network, simulation, qat.normalize_images(images, SPEC), 5, 0, {"expand"})
    assert torch.equal(before["stem.weight"], simulation.get_parameter_by_name("stem.weight"))
    assert not torch.equal(before["expand.weight"], simulation.get_parameter_by_name("expand.weight"))


@pytest.mark.slow
def test_build_applies_recipe(anomaly_images, build_bundle, tmp_path):
    """The anomaly model is fitted to int8 features of the trained network, whose checkpoint stays; both files agree."""
    recipe = '[[recipe]]\nuse = "quantise"\nranges = "mse"\nequalise = true\nbias_correction = true\nqat_steps = 2\n'
    goal = write_goal_for(anomaly_images, tmp_path, ("[model]", f'{recipe}[model]\ndetector = "padim"'))
    built = build_bundle(goal, tmp_path / "out")
    measured = built.manifest.measured
    assert min(measured["auroc_int8_onnx"], measured["auroc_int8_tflite"]) > 0.9
    assert measured["parity_max_steps"] <= 1
    (checkpoint,) = (tmp_path / "out" / "weave.work").glob("teaching-*.pt")
    assert torch.load(checkpoint, weights_only=True)["step"] == 2


@pytest.mark.slow
def test_killed_build_resumes_qat_to_identical_files(anomaly_images, build_bundle, key_folder, keyring, tmp_path):
    """A build process is killed after its first checkpoint; the next build writes identical files."""
    recipe = '[[recipe]]\nuse = "quantise"\nbias_correction = true\nqat_steps = 30\nqat_rate = 1e-4\n'
    model = f'{recipe}[model]\ndetector = "padim"'
    goal = write_goal_for(
        anomaly_images, tmp_path, ('"weave"', '"killed"'), ("input = 96", "input = 64"), ("[model]", model)
    )
    broken, uninterrupted = tmp_path / "broken", tmp_path / "whole"
    options = ["--out", str(broken), "--key", str(key_folder / "vedette.key")]
    command = [sys.executable, "-m", "vedette.runtime.cli", "build", str(goal), *options]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 240
        while not (checkpoints := list((broken / "killed.work").glob("teaching-*.pt"))):
            assert process.poll() is None, "the build ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not (broken / "killed.vedette").exists()
    assert torch.load(checkpoints[0], weights_only=True)["step"] == 25

    outputs = {}
    for out in (broken, uninterrupted):
        members = Bundle.open(build_bundle(goal, out).bundle, keyring).members
        outputs[out] = members["model.onnx"], members["model.tflite"]
    assert outputs[broken] == outputs[uninterrupted]
    assert list((broken / "killed.work").glob("teaching-*.pt")) == checkpoints, (
        "the second build did not use the checkpoint"
    )
    assert torch.load(checkpoints[0], weights_only=True)["step"] == 30


def test_other_ranges_use_another_checkpoint(tmp_path):
    model, images = make_network(2), make_images(12)
    for method in ("minmax", "mse"):
        prepare(QuantizationSettings(ranges=method, qat_steps=1), model, images, SPEC, checkpoint_folder=tmp_path)
    assert len(list(tmp_path.glob("teaching-*.pt"))) == 2
