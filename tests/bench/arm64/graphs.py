"""Models to fit the devices' costs with: `graphs.py FOLDER` writes each as .onnx and .tflite, in fp32 and int8.

    made     random small networks of the operators that our graphs are made of: what the costs are fitted to
    ours-…   our own detectors and classifier, at several input sizes, depths and widths: what the fit is judged by

Instructions do not depend on what the numbers are, so weights are whatever they are and the calibration images noise.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import onnx
import torch
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from vedette.compress.export.tflite import write_tflite
from vedette.compress.goal.recipe import QuantizationSettings
from vedette.compress.graph.torch_export import export_to_onnx
from vedette.compress.models import anomaly, efficientnet_lite
from vedette.compress.models.classifier_head import OUTPUTS as SCORES
from vedette.compress.models.classifier_head import Classifier
from vedette.compress.models.efficientnet_lite import STAGES, Backbone
from vedette.compress.quantization.quantize import quantize
from vedette.runtime.plugin_tables import load_plugin

MADE = 116
UNITS, RAGGED = 96, 104  # from these numbers on
LARGEST = 30e6  # multiply-accumulates of a made network: emulation is slow
SEED = 1

# Detector, input, blocks, and how wide the backbone is.
OURS: list[tuple[str, int, tuple[int, ...], float]] = [
    ("padim", 224, (2, 4, 10), 1.0),
    ("padim", 224, (4, 10), 1.0),
    ("padim", 160, (2, 4), 1.0),
    ("padim", 128, (4, 10, 14), 1.0),
    ("padim", 96, (2, 4), 1.0),
    ("padim", 128, (4,), 0.5),
    ("padim", 192, (2, 4, 10), 0.7),
    ("patchcore", 224, (4, 10), 1.0),
    ("patchcore", 160, (2, 4), 1.0),
    ("patchcore", 96, (4, 10), 0.5),
    ("discriminative", 224, (4, 10), 1.0),
    ("discriminative", 160, (4,), 0.7),
    ("discriminative", 96, (2, 4), 1.0),
    ("classifier", 224, (2, 4, 10, 15), 1.0),
    ("classifier", 128, (4, 10), 0.5),
]


class Network:
    """A float graph that grows by one operator at a time; `x` is the tensor that it has come to, `shape` C x H x W."""

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self.rng, self.size = rng, size
        self.x, self.shape, self.macs = "image", (3, size, size), 0
        self.ragged = False
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def operator(self, kind: str, inputs: list[str], shape: tuple[int, int, int], **attributes: Any) -> str:
        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        self.x, self.shape = name, shape
        return name

    def constant(self, value: Any, kind: type = np.float32) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def convolution(self, outputs: int, kernel: int, stride: int = 1, depthwise: bool = False) -> None:
        channels, height, width = self.shape
        group = channels if depthwise else 1
        weight = self.rng.normal(
            0, (channels // group * kernel**2) ** -0.5, (outputs, channels // group, kernel, kernel)
        )
        inputs = [self.x, self.constant(weight), self.constant(self.rng.normal(0, 0.1, outputs))]
        before = (kernel - stride) // 2
        after = kernel - stride - before
        pads = [before, before, after, after]
        shape = (outputs, height // stride, width // stride)
        form = {"kernel_shape": [kernel, kernel], "strides": [stride, stride], "pads": pads, "group": group}
        self.operator("Conv", inputs, shape, **form)
        self.macs += weight[0].size * int(np.prod(shape))

    def width(self, least: int, most: int) -> int:
        """So many times 8 channels, or some fewer."""
        width = 8 * int(self.rng.integers(least, most))
        return width - int(self.rng.integers(1, 8)) if self.ragged else width

    def clip(self) -> None:
        self.operator("Clip", [self.x, self.constant(0.0), self.constant(6.0)], self.shape)

    def block(self) -> None:
        """An inverted residual, as the backbone has it."""
        before, (channels, height, _) = self.x, self.shape
        kernel, stride = (
            int(self.rng.choice([3, 5])),
            int(self.rng.choice([1, 2])) if height % 2 == 0 and height > 4 else 1,
        )
        outputs = int(self.rng.choice([channels, self.width(1, 13)]))
        if (expand := int(self.rng.choice([1, 3, 4, 6]))) > 1:
            self.convolution(channels * expand, 1)
            self.clip()
        self.convolution(self.shape[0], kernel, stride, depthwise=True)
        self.clip()
        self.convolution(outputs, 1)
        if stride == 1 and outputs == channels:
            self.operator("Add", [before, self.x], self.shape)

    def pointwise(self) -> None:
        self.convolution(self.width(1, 33), 1)
        self.clip()

    def dense(self) -> None:
        self.convolution(self.width(1, 7), 3)
        self.clip()

    def smooth(self) -> None:
        self.convolution(self.shape[0], 3, depthwise=True)
        self.clip()

    def unit(self) -> None:
        """Each channel by a gain and an offset of its own."""
        self.convolution(self.shape[0], 1, depthwise=True)
        self.clip()

    def place(self) -> None:
        """Less a constant, and times one, each as large as the features."""
        for kind in ("Add", "Mul"):
            self.operator(kind, [self.x, self.constant(self.rng.normal(1, 0.2, (1, *self.shape)))], self.shape)

    def square(self) -> None:
        self.pointwise()
        self.operator("Mul", [self.x, self.x], self.shape)
        self.convolution(self.shape[0], 1)
        self.clip()

    def joined(self) -> None:
        """A coarser branch, enlarged again and added."""
        channels, height, _ = self.shape
        if height % 2 or height < 4:
            return
        before, shape = self.x, self.shape
        self.convolution(channels, 3, 2, depthwise=True)
        self.convolution(channels, 1)
        scales = self.constant([1.0, 1.0, 2.0, 2.0])
        form = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        fine = self.operator("Resize", [self.x, "", scales], shape, **form)
        self.operator("Add", [before, fine], shape)

    def concatenated(self) -> None:
        self.pointwise()
        before, (channels, height, width) = self.x, self.shape
        self.convolution(channels, 1)
        self.clip()
        self.operator("Concat", [before, self.x], (2 * channels, height, width), axis=1)

    def ending(self) -> list[str]:
        """The outputs: features as they are, or read like an anomaly map, or pooled like a classifier's."""
        way = self.rng.integers(3)
        _, height, width = self.shape
        if way == 0:
            self.convolution(8, 1)
            return [self.x]
        if way == 1:
            axes = self.constant([1], np.int64)
            if self.rng.integers(2):
                self.operator("ReduceMax", [self.x, axes], (1, height, width), keepdims=1)
            else:
                self.convolution(1, 1)
            self.convolution(1, 3)
            found = self.x
            self.operator("ReduceMax", [found, self.constant([1, 2, 3], np.int64)], (1, 1, 1), keepdims=1)
            return [found, self.x]
        self.whole()
        self.clip()
        self.convolution(8, 1)
        return [self.x]

    def whole(self) -> None:
        """The mean of each channel over the whole map, as a depthwise convolution."""
        channels, height, width = self.shape
        weight = self.constant(np.full((channels, 1, height, width), 1 / (height * width)))
        form = {"kernel_shape": [height, width], "group": channels}
        self.operator("Conv", [self.x, weight, self.constant(np.zeros(channels))], (channels, 1, 1), **form)

    def model(self, outputs: list[str]) -> onnx.ModelProto:
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, self.size, self.size])
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "made", [image], ends, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def made(number: int) -> onnx.ModelProto:
    """A random network; the first ones are mostly of one kind, so that each kind's cost is seen apart."""
    rng = np.random.default_rng((SEED, number))
    while True:
        network, outputs = _drawn(number, rng)
        if network.macs < LARGEST:
            return network.model(outputs)


def _drawn(number: int, rng: np.random.Generator) -> tuple[Network, list[str]]:
    network = Network(16 * int(rng.integers(2, 11)), rng)
    network.ragged = number >= RAGGED
    network.convolution(network.width(1, 7), 3, 2)
    network.clip()
    kinds = (
        Network.block,
        Network.pointwise,
        Network.dense,
        Network.smooth,
        Network.place,
        Network.square,
        Network.joined,
    )
    kinds += (Network.concatenated,)
    if number < 4 * len(kinds):
        chosen: list[Callable[[Network], None]] = [kinds[number % len(kinds)]] * int(rng.integers(2, 5))
    elif UNITS <= number < RAGGED:
        chosen = [Network.pointwise, Network.unit, Network.unit]
    else:
        chosen = [kinds[each] for each in rng.choice(len(kinds), int(rng.integers(3, 9)), p=_SHARES)]
    for grow in chosen:
        grow(network)
    return network, network.ending()


_SHARES = [0.44, *[0.08] * 7]


def ours(name: str, size: int, blocks: tuple[int, ...], width: float) -> tuple[onnx.ModelProto, Mapping[str, float]]:
    """One of our models, and which of its outputs are bounded. A narrower one has no weights that anybody trained."""
    efficientnet_lite.STAGES = tuple(  # type: ignore[misc]
        stage._replace(channels=max(8, round(stage.channels * width / 8) * 8)) for stage in STAGES
    )
    network = Backbone(blocks).eval()
    efficientnet_lite.STAGES = STAGES  # type: ignore[misc]
    torch.manual_seed(0)
    noise = [
        torch.rand(4, channels, size // s, size // s)
        for channels, s in zip(network.channels, network.strides, strict=True)
    ]
    if name == "classifier":
        return export_to_onnx(Classifier(network, 8, size), size, SCORES), {}
    detector = load_plugin(anomaly.__name__, anomaly.ANOMALY_MODELS, name, "OURS")(network, size)
    with torch.no_grad():
        detector.join.fit(noise)
    return export_to_onnx(detector, size), detector.bounded_outputs


def images(size: int, count: int = 2) -> Iterator[NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield rng.integers(0, 256, (1, size, size, 3), dtype=np.uint8)


def write(folder: Path, name: str, model: onnx.ModelProto, bounded: Mapping[str, float]) -> None:
    size = model.graph.input[0].type.tensor_type.shape.dim[2].dim_value
    onnx.save(model, folder / f"{name}.fp32.onnx")
    integers = quantize(
        QuantizationSettings(), model, images(size), efficientnet_lite.backbone_input_spec(size), bounded
    )
    onnx.save(integers, folder / f"{name}.int8.onnx")
    written = write_tflite(integers)
    (folder / f"{name}.int8.tflite").write_bytes(written)
    (folder / f"{name}.fp32.tflite").write_bytes(as_float(written))


def as_float(file: bytes) -> bytes:
    """The same TFLite graph with float tensors; its numbers mean nothing, but take as long to compute with."""
    model = schema.ModelT.InitFromPackedBuf(file, 0)
    (graph,) = model.subgraphs
    real = {index for index, each in enumerate(graph.tensors) if each.type == schema.TensorType.INT8}
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex].builtinCode
        if code in (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.DEPTHWISE_CONV_2D):
            real.add(operator.inputs[2])
    for tensor in (graph.tensors[index] for index in real):
        tensor.type, tensor.quantization = schema.TensorType.FLOAT32, None
        if tensor.buffer:
            model.buffers[tensor.buffer].data = np.full(int(np.prod(tensor.shape)), 0.01, np.float32).view(np.uint8)
    for each in model.operatorCodes:
        each.version = 1
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the models that the devices' costs are fitted with.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(MADE):
        write(folder, f"made-{number:03d}", made(number), {})
    for name, size, blocks, width in OURS:
        title = "-".join(["ours", name, str(size), "+".join(map(str, blocks)), f"{width:g}"])
        write(folder, title, *ours(name, size, blocks, width))


if __name__ == "__main__":
    main()
