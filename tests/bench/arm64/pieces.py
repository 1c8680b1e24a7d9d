"""Pieces of detectors, that the costs of their operators are fitted to: `pieces.py FOLDER` writes them.

Small made networks, each mostly of one thing that detectors do and our own networks do not: gates (x times its
sigmoid), leaky slopes, pools, channel shuffles in both spellings that files have, cuts and joints, enlarging, a wide
stem, ragged depthwise convolutions. They go the way that a detector goes, through compress/foreign, and are written as
graphs.py writes; the float file is what was lowered, and once more as it was given where that is another. Beside them
the ragged ones of graphs.py. No detector is among them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import graphs
import numpy as np
import onnx
from graphs import as_float, images
from piece import Bend, Piece

from vedette.compress.export.tflite import write_tflite
from vedette.compress.graph.importers.lowering import lower_graph
from vedette.compress.models import efficientnet_lite
from vedette.compress.quantization import quantize_imported

SEED = 2


def bent(network: Piece, channels: int, count: int, bend: Bend, kernel: int = 3) -> list[str]:
    """Depthwise and pointwise in turn, each with what follows it."""
    network.stem(channels, kernel)
    bend(network)
    for _ in range(count):
        network.even(channels, 3, depthwise=True)
        bend(network)
        network.convolution(channels, 1)
        bend(network)
    return network.outputs(8)


def wide(network: Piece, channels: int, stride: int) -> list[str]:
    network.stem(channels, 6)
    network.even(channels, 3, stride, depthwise=True)
    return network.outputs(8)


def curves(network: Piece, channels: int, kind: str) -> list[str]:
    network.stem(channels)
    network.curve(kind)
    network.convolution(channels, 1)
    network.curve(kind)
    network.attended()
    network.attended()
    return network.outputs(8)


def pools(network: Piece, channels: int, outputs: int) -> list[str]:
    network.even(channels, 3, 2)
    network.rectify()
    network.pool(3, 2)
    network.convolution(outputs, 1)
    network.rectify()
    network.pool(3, 2)
    return network.outputs(8)


def pyramids(network: Piece, channels: int, *sizes: int) -> list[str]:
    network.stem(16)
    network.even(16, 3, 2, depthwise=True)
    network.convolution(channels, 1)
    network.rectify()
    network.pyramid(*sizes)
    return network.outputs(8)


def shuffles(network: Piece, channels: int, count: int, way: Callable[[Piece, Bend], None], bend: Bend) -> list[str]:
    network.stem(16)
    network.joint(channels, bend)
    for _ in range(count):
        way(network, bend)
    return network.outputs(8)


def larger(network: Piece, channels: int, mode: str, factor: int = 2) -> list[str]:
    network.stem(16)
    network.convolution(channels, 1)
    network.rectify()
    network.enlarged(mode, factor)
    return network.outputs(8)


def rectified(network: Piece, channels: int) -> list[str]:
    """Behind a joint and a pool, where nothing is there to be fused with."""
    network.stem(16)
    network.joint(channels, Piece.rectify)
    network.rectify()
    network.pool(3)
    network.rectify()
    return network.outputs(8)


def ragged(network: Piece, channels: int, kernel: int, count: int) -> list[str]:
    network.stem(16)
    network.even(16, 3, 2, depthwise=True)
    network.convolution(channels, 1)
    network.rectify()
    network.even(channels, kernel, 2, depthwise=True)
    for _ in range(count):
        network.even(channels, kernel, depthwise=True)
    return network.outputs(8)


def heads(network: Piece, channels: int, *widths: int) -> list[str]:
    network.even(channels, 3, 2)
    network.rectify()
    network.even(channels, 3, 2, depthwise=True)
    return network.outputs(*widths)


def skips(network: Piece, channels: int, count: int) -> list[str]:
    """Rectified on one way and not on the other, so that nothing can be fused."""
    network.stem(16)
    network.convolution(channels, 1)
    for _ in range(count):
        before, shape = network.x, network.shape
        network.rectify()
        network.convolution(channels, 1)
        network.operator("Add", [before, network.x], shape)
    return network.outputs(8)


def picks(network: Piece, channels: int, *numbers: int) -> list[str]:
    network.stem(16)
    network.joint(channels, Piece.rectify)
    network.picked(*numbers)
    return network.outputs(8)


# The side of the image, the channels, how many times, and the kernel of the stem.
GATED = [(48, 16, 1, 3), (96, 16, 2, 6), (160, 24, 1, 6), (64, 48, 2, 6)]
GATED += [(64, 96, 1, 3), (32, 128, 2, 3), (192, 16, 0, 6), (128, 8, 2, 6)]
SLOPED = [(48, 24, 1), (160, 24, 1), (96, 58, 1), (64, 116, 1), (32, 96, 2), (20, 232, 1), (192, 16, 0)]
# The side of the image, the channels, and how many shuffles.
SHUFFLED = [(192, 48, 2), (96, 48, 3), (96, 96, 3), (160, 116, 2), (64, 116, 3), (48, 232, 2), (32, 64, 3)]
# How a piece is grown -> the side of the image, and what else it is told.
PIECES: list[tuple[Callable[..., list[str]], list[tuple[Any, ...]]]] = [
    (bent, [(size, channels, count, Piece.gate, kernel) for size, channels, count, kernel in GATED]),
    (wide, [(128, 16, 2), (96, 32, 1), (160, 24, 2), (48, 16, 2)]),
    (bent, [(*told, Piece.leaky) for told in SLOPED]),
    (curves, [(64, 32, "Sigmoid"), (160, 16, "Tanh"), (32, 96, "Sigmoid")]),
    (pools, [(128, 24, 24), (96, 16, 48), (192, 8, 32), (64, 40, 58), (256, 24, 16), (224, 16, 16)]),
    (pyramids, [(64, 64, 5, 9, 13), (96, 32, 5, 5, 9), (52, 128, 5, 9, 13), (64, 96, 3, 7), (44, 192, 5, 9, 13)]),
    (shuffles, [(*told, Piece.dealt, Piece.rectify) for told in SHUFFLED]),
    (shuffles, [(*told, Piece.turned, Piece.leaky) for told in SHUFFLED]),
    (shuffles, [(*told, Piece.halves, Piece.rectify) for told in SHUFFLED[::2]]),
    (larger, [(64, 96, "nearest"), (96, 48, "nearest"), (48, 128, "nearest"), (160, 32, "nearest")]),
    (larger, [(32, 192, "nearest"), (64, 96, "linear"), (96, 48, "linear"), (48, 64, "linear")]),
    (larger, [(128, 24, "linear"), (32, 128, "linear")]),
    (larger, [(64, 48, "linear", 4), (96, 32, "linear", 4), (32, 96, "linear", 4)]),
    (rectified, [(96, 48), (64, 96), (160, 24)]),
    (ragged, [(96, 58, 3, 2), (64, 116, 3, 2), (48, 236, 3, 1), (128, 20, 3, 1), (128, 58, 3, 0), (96, 100, 3, 0)]),
    (ragged, [(64, 60, 5, 2), (96, 36, 5, 1)]),
    (heads, [(64, 32, 4, 80), (96, 24, 32, 20), (160, 16, 4, 80), (32, 64, 80, 4)]),
    (skips, [(96, 48, 2), (64, 96, 3), (160, 24, 1)]),
    (picks, [(192, 48, 0, 2), (96, 96, 0, 5), (64, 116, 1, 7, 9), (160, 24, 2, 3)]),
]


ALL = [(grow, told) for grow, several in PIECES for told in several]


def piece(number: int) -> onnx.ModelProto:
    """A float network."""
    grow, (size, *told) = ALL[number]
    network = Piece(size, np.random.default_rng((SEED, number)))
    model = network.model(grow(network, *told))
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def write(folder: Path, name: str, model: onnx.ModelProto) -> None:
    """As graphs.py writes, but lowered and quantised as a detector is; the float file is as it was given."""
    size = model.graph.input[0].type.tensor_type.shape.dim[2].dim_value
    lowered = lower_graph(model)
    if len(lowered.graph.node) != len(model.graph.node):
        onnx.save(model, folder / f"{name}-given.fp32.onnx")
    onnx.save(lowered, folder / f"{name}.fp32.onnx")
    made = quantize_imported.quantize_post_training(lowered, images(size), efficientnet_lite.backbone_input_spec(size))
    onnx.save(made, folder / f"{name}.int8.onnx")
    written = write_tflite(made)
    (folder / f"{name}.int8.tflite").write_bytes(written)
    (folder / f"{name}.fp32.tflite").write_bytes(as_float(written))


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the pieces of detectors that costs are fitted with.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(len(ALL)):
        write(folder, f"piece-{number:02d}", piece(number))
    for number in range(graphs.RAGGED, graphs.MADE):
        graphs.write(folder, f"made-{number:03d}", graphs.made(number), {})


if __name__ == "__main__":
    main()
