"""The end of a network, from the first trained layer on: what comes before gives fixed features."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import cast

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from .editing import copy_model, remove_unused_initializers, remove_unused_nodes, set_float_outputs
from .torch_module import OnnxModule


class GraphTail:
    """Computes the features before the trained layers once, and the outputs from them as often as needed.

    Args:
        model: the graph of the network
        module: the network; its parameters outside `trained` are frozen
        trained: names of the trained weights and biases
    """

    def __init__(self, model: onnx.ModelProto, module: OnnxModule, trained: Collection[str]) -> None:
        self.model, self._session = model, cast("onnxruntime.InferenceSession | None", None)
        self.module, self.trained = module, [name for name in module.parameter_indices if name in trained]
        for name in module.parameter_indices:
            module.get_parameter_by_name(name).requires_grad_(name in trained)
        changing = set(trained)
        self.nodes = []
        for node in module.nodes:
            if changing & set(node.inputs):
                changing.add(node.output)
                self.nodes.append(node)
        computed = {node.output for node in self.nodes}
        known = {module.input, *(node.output for node in module.nodes)}
        read = [name for node in self.nodes for name in node.inputs] + module.outputs
        self.features = [name for name in dict.fromkeys(read) if name in known and name not in computed]
        """Tensors before the trained layers, and outputs that do not depend on them."""

    def compute_features(self, image: NDArray[np.float32]) -> list[Tensor]:
        """`features` of a normalized image, 1 x 3 x H x W, by ONNX Runtime on one thread."""
        if self._session is None:
            model = copy_model(self.model)
            set_float_outputs(model.graph, self.features)
            remove_unused_nodes(model.graph)
            remove_unused_initializers(model.graph)
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            self._session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        return [torch.from_numpy(each) for each in self._session.run(self.features, {self.module.input: image})]

    def __call__(self, features: Sequence[Tensor]) -> dict[str, Tensor]:
        """All outputs of the network by name, with gradients."""
        values = dict(zip(self.features, features, strict=True))
        for node in self.nodes:
            values[node.output] = self.module.run_node(node, values)
        return {name: values[name] for name in self.module.outputs}
