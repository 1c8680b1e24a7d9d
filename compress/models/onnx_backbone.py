"""The backbone as an ONNX graph, for the features of fits and trials, the embedding of the audit, and the export.

ONNX Runtime computes the same network in half of the time that PyTorch takes: the batch norms are folded into the
convolutions, and the convolutions have a layout of their own. The features differ from those of PyTorch by float
rounding only. The graph is written directly, because an export by PyTorch takes as long as hundreds of images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .efficientnet_lite import Backbone, Convolution, InvertedResidual

_OPSET, _IR_VERSION = 17, 9
_BATCH = 4  # images at once: 4.6 ms an image of 224 pixels, 6.1 with 16 (blocks 4, 10, 14)


class OnnxBackbone:
    """Normalized images, N x 3 x H x W -> one feature map per tapped block; it is thread-safe.

    Args:
        backbone: the network, in evaluation mode; it may be pruned
        threads: threads of one call
    """

    def __init__(self, backbone: Backbone, threads: int) -> None:
        names = [f"features.{number}" for number in range(len(backbone.taps))]
        model = write_backbone(backbone, names, ("N", "H", "W"), _OPSET, _IR_VERSION)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        providers = ["CPUExecutionProvider"]
        self._session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=providers)

    def __call__(self, images: Tensor) -> list[Tensor]:
        # The concatenation copies the results, which else would stay in the session's arena.
        chunks = [
            [torch.from_numpy(level) for level in self._session.run(None, {"image": chunk.contiguous().numpy()})]
            for chunk in torch.split(images, _BATCH)
        ]
        return [torch.cat(level) for level in zip(*chunks, strict=True)]


def write_backbone(
    backbone: Backbone, outputs: Sequence[str], shape: tuple[int | str, int | str, int | str], opset: int, ir: int
) -> onnx.ModelProto:
    """The graph from `image` to the feature maps of the tapped blocks.

    Args:
        backbone: the network, in evaluation mode; it may be pruned
        outputs: a name for each feature map, from shallow to deep
        shape: number, height and width of the images; a text is a dimension of any size
        opset: version of ONNX's operators
        ir: version of the file format
    """
    graph = _GraphWriter()
    x = graph.add_convolution(backbone.stem, "image", "stem")
    taps = dict(zip(backbone.taps, outputs, strict=True))
    for number, block in enumerate(backbone.blocks):
        assert isinstance(block, InvertedResidual)
        x = graph.add_block(block, x, f"blocks.{number}", taps.get(number))
    return graph.to_model(outputs, shape, opset, ir)


class _GraphWriter:
    """The nodes and the weights of the graph. Names are those of the modules."""

    def __init__(self) -> None:
        bounds = {"lowest": np.float32(0), "highest": np.float32(6)}
        self.nodes: list[onnx.NodeProto] = []
        self.weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in bounds.items()]

    def add(self, operator: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Adds a node; returns the name of its output, which is its own."""
        self.nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    def add_convolution(self, layer: Convolution, x: str, name: str, output: str | None = None) -> str:
        """Adds a convolution with its batch norm folded, its padding, and its ReLU6 if it has one."""
        convolution, norm = layer.conv, layer.norm
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        folded = fuse_conv_bn_eval(convolution.eval(), norm.eval())
        assert folded.bias is not None
        names = [f"backbone.{name}.{kind}" for kind in ("weight", "bias")]
        for each, values in zip(names, (folded.weight, folded.bias), strict=True):
            self.weights.append(numpy_helper.from_array(values.detach().numpy(), each))
        pad = layer.pad if hasattr(layer, "pad") else nn.ZeroPad2d(0)
        assert isinstance(pad, nn.ZeroPad2d)
        left, right, top, bottom = pad.padding
        has_clip = hasattr(layer, "relu6")
        y = self.add(
            "Conv",
            [x, *names],
            f"{name}.conv" if has_clip or output is None else output,
            pads=[top, left, bottom, right],
            strides=list(folded.stride),
            group=folded.groups,
            kernel_shape=list(folded.kernel_size),
        )
        return self.add("Clip", [y, "lowest", "highest"], output or f"{name}.relu6") if has_clip else y

    def add_block(self, block: InvertedResidual, x: str, name: str, output: str | None) -> str:
        """Adds an inverted residual block; `output`: name of its output, None: any."""
        y = x
        if isinstance(block.expand, Convolution):
            y = self.add_convolution(block.expand, x, f"{name}.expand")
        y = self.add_convolution(block.depthwise, y, f"{name}.depthwise")
        y = self.add_convolution(block.project, y, f"{name}.project", None if block.residual else output)
        return self.add("Add", [x, y], output or f"{name}.add") if block.residual else y

    def to_model(
        self, outputs: Sequence[str], shape: tuple[int | str, int | str, int | str], opset: int, ir: int
    ) -> onnx.ModelProto:
        """The model with the input `image`."""
        count, height, width = shape
        image = helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, [count, 3, height, width])
        values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "backbone", [image], values, self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
