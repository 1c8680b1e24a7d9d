"""Weight compression of float TFLite files: nearly the same outputs with a quarter of the bytes."""

from __future__ import annotations

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from vedette.compress.export.tflite import weight_only_quantization

SIDE, CHANNELS, OUTPUTS = 6, 128, 16


def build_float_file(rng, spread):
    """A convolution, a depthwise convolution and a matrix product; weights grow by `spread` over the channels."""
    model, subgraph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs, model.operatorCodes, model.buffers = 3, [subgraph], [], [schema.BufferT()]
    subgraph.tensors, subgraph.operators = [], []

    def tensor(name, shape, values=None):
        made = schema.TensorT()
        made.name, made.shape, made.type, made.buffer = name, list(shape), schema.TensorType.FLOAT32, 0
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(values.astype(np.float32).tobytes(), np.uint8)
            model.buffers.append(buffer)
            made.buffer = len(model.buffers) - 1
        subgraph.tensors.append(made)
        return len(subgraph.tensors) - 1

    def operator(kind, options, source, shape, axis, result):
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, kind)
        code.version = 1
        model.operatorCodes.append(code)
        factor = np.moveaxis(np.ones(shape), axis, -1) * np.linspace(1, spread, shape[axis])
        values = rng.normal(0, 0.1, shape) * np.moveaxis(factor, -1, axis)
        inputs = [source, tensor(f"{kind}/weight", shape, values)]
        inputs.append(tensor(f"{kind}/bias", (shape[axis],), rng.normal(0, 1, shape[axis])))
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = len(model.operatorCodes) - 1, inputs, [result]
        made.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        made.builtinOptions = options
        subgraph.operators.append(made)

    convolution, depthwise = schema.Conv2DOptionsT(), schema.DepthwiseConv2DOptionsT()
    for each in (convolution, depthwise):
        each.strideH = each.strideW = each.dilationHFactor = each.dilationWFactor = 1
    depthwise.depthMultiplier = 1
    image = tensor("image", (1, SIDE, SIDE, 3))
    features, deeper = (tensor(name, (1, SIDE, SIDE, CHANNELS)) for name in ("features", "deeper"))
    scores = tensor("scores", (SIDE * SIDE, OUTPUTS))
    operator("CONV_2D", convolution, image, (CHANNELS, 3, 3, 3), 0, features)
    operator("DEPTHWISE_CONV_2D", depthwise, features, (1, 3, 3, CHANNELS), 3, deeper)
    operator("FULLY_CONNECTED", schema.FullyConnectedOptionsT(), deeper, (OUTPUTS, CHANNELS), 0, scores)
    subgraph.inputs, subgraph.outputs = [image], [scores]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def run_file(file, image):
    interpreter = Interpreter(model_content=file, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


@pytest.mark.parametrize("spread", [1, 100])
def test_weights_are_stored_as_int8_per_channel(spread):
    rng = np.random.default_rng(3)
    original = build_float_file(rng, spread)
    compressed = weight_only_quantization.quantize_weights_only(original)
    assert len(compressed) < 0.45 * len(original)  # names, biases and scales keep their size
    image = rng.normal(0, 1, (1, SIDE, SIDE, 3)).astype(np.float32)
    expected, outputs = run_file(original, image), run_file(compressed, image)
    for channel in range(OUTPUTS):
        assert np.corrcoef(expected[:, channel], outputs[:, channel])[0, 1] > 0.999


def test_compressed_file_is_not_compressed_again():
    compressed = weight_only_quantization.quantize_weights_only(build_float_file(np.random.default_rng(3), 1))
    again = weight_only_quantization.quantize_weights_only(compressed)
    image = np.ones((1, SIDE, SIDE, 3), np.float32)
    assert np.array_equal(run_file(compressed, image), run_file(again, image))
    assert abs(len(again) - len(compressed)) < 200
