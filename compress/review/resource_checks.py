"""Memory and multiplications against the device: does the model fit, and is it the one that was measured?"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import onnx

from vedette.runtime.bundle.manifest import ONNX

from ..cost import operator_counts
from ..graph.editing import read_initializers
from .finding import Finding
from .subject import Subject

LARGE_SHARE = 0.25  # of the device's memory, for the model alone; library, camera and system need the rest


def check_resources(subject: Subject) -> Iterator[Finding]:
    """Findings about memory and multiply-accumulates; the graph was checked before."""
    manifest = subject.manifest
    graph = onnx.load_from_string(subject.members[manifest.models[ONNX]])
    weights, largest = measure_memory(graph)
    macs = sum(operator.macs for operator in operator_counts.count_operators(graph))
    stated = manifest.measured.get("macs")
    if stated is not None and stated != macs:
        yield Finding(
            "high",
            "resources",
            "the model is not the one that the manifest describes",
            f"{macs:,} multiply-accumulates in the graph, {stated:,} in the manifest",
            "do not use this bundle; build it again",
        )
    needed, profile = (weights + largest) / 2**20, subject.device
    evidence = f"weights {weights / 2**20:.1f} MB, largest step {largest / 2**20:.1f} MB, {macs / 1e6:.0f} million MACs"
    if profile is None or not profile.memory_mb:
        yield Finding("info", "resources", f"the model needs at least {needed:.1f} MB", evidence, "nothing")
        return
    too_large = needed > LARGE_SHARE * profile.memory_mb
    yield Finding(
        "medium" if too_large else "info",
        "resources",
        f"the model needs at least {needed:.1f} of the {profile.memory_mb:,} MB of a {profile.name}",
        evidence,
        "a smaller input, a search with max_ms, or a device with more memory" if too_large else "nothing",
    )


def measure_memory(model: onnx.ModelProto) -> tuple[int, int]:
    """Bytes of the constants, and of the activations of the largest operator (inputs and outputs, as integers).

    A lower bound: back ends keep other activations and packed copies of weights beside them.
    """
    graph = onnx.shape_inference.infer_shapes(model).graph
    constants = read_initializers(graph)
    sizes = {
        value.name: prod(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in (*graph.value_info, *graph.input, *graph.output)
    }
    steps = [
        sum(sizes.get(name, 0) for name in {*node.input, *node.output} - constants.keys())
        for node in graph.node
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear")
    ]
    return sum(values.nbytes for values in constants.values()), max(steps, default=0)
