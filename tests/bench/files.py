"""A file of any maker, run on one thread, real numbers out: ONNX, TFLite, OpenVINO, MNN or ExecuTorch.

Quantisers end their files as they like: pixels or normalised numbers, channels first or last, float or integer outputs.
`File` takes pixels whatever the file wants, and hands back each output in the layout of the float ONNX file, known by
how many numbers it has (no two outputs of one subject have as many). What one file joins and another leaves apart is
compared apart: FastestDet's 85 channels are objectness, box and classes.

`files.py FILE ABOUT` is the process that `turns.py` times: the model alone, on an input of the type that it takes. With
a third argument, OUT.npz, it runs the held-out images and leaves what came of each output. Both also work in the
environments of the other runtimes, where there is no vedette.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from turns import answer

JOINED = {85: (1, 5)}  # channels that are joined -> where they part
Array = NDArray[Any]


class File:
    """A loaded model.

    Args:
        path: .onnx, .tflite, .xml (OpenVINO), .mnn or .pte (ExecuTorch)
        about: `mean` and `std` of a pixel
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self.mean, self.std = about["mean"], about["std"]
        load = {
            ".onnx": self._onnx,
            ".tflite": self._tflite,
            ".xml": self._openvino,
            ".mnn": self._mnn,
            ".pte": self._executorch,
        }[path.suffix]
        self.enter: Callable[[Array], Array] = self._channels_first
        self.run: Callable[[Array], list[Array]]
        self.real: list[Callable[[Array], Array]]
        load(path)

    def __call__(self, pixels: Array) -> list[Array]:
        """1 x H x W x 3, uint8 -> the outputs, as real numbers."""
        return [real(each) for real, each in zip(self.real, self.run(self.enter(pixels)), strict=True)]

    def _onnx(self, path: Path) -> None:
        import onnx
        import onnxruntime

        from vedette.compress.graph import qdq
        from vedette.runtime.inference.backends.onnx import EXACT_KERNELS_OPTION

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry(*EXACT_KERNELS_OPTION)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        (image,) = session.get_inputs()
        if image.type == "tensor(uint8)":  # ours
            self.enter = lambda pixels: pixels
            self.real = [
                _affine(float(e.scale[0]), int(e.zero_point[0])) for e in qdq.read_qdq_graph(onnx.load(path)).outputs
            ]
        else:
            self.real = [_same for _ in session.get_outputs()]
        self.run = lambda tensor: session.run(None, {image.name: tensor})

    def _tflite(self, path: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(str(path), num_threads=1)
        interpreter.allocate_tensors()
        (image,), outputs = interpreter.get_input_details(), interpreter.get_output_details()
        scale, zero = image["quantization"]
        first = image["shape"][1] == 3

        def enter(pixels: Array) -> Array:
            real = self._normalised(pixels)
            if scale:
                low, high = np.iinfo(image["dtype"]).min, np.iinfo(image["dtype"]).max
                real = (np.round(real / scale) + zero).clip(low, high)
            return (real.transpose(0, 3, 1, 2) if first else real).astype(image["dtype"])

        def run(tensor: Array) -> list[Array]:
            interpreter.set_tensor(image["index"], tensor)
            interpreter.invoke()
            return [interpreter.get_tensor(each["index"]) for each in outputs]

        self.enter, self.run = enter, run
        self.real = [_affine(*each["quantization"]) if each["quantization"][0] else _same for each in outputs]

    def _openvino(self, path: Path) -> None:
        import openvino

        core = openvino.Core()
        model = core.read_model(path)
        settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False}
        settings |= {"INFERENCE_PRECISION_HINT": model.get_rt_info("precision").astype(str)}
        request = core.compile_model(model, "CPU", settings).create_infer_request()
        outputs = range(len(request.model_outputs))

        def run(tensor: Array) -> list[Array]:
            request.infer([tensor], share_inputs=True)
            return [request.get_output_tensor(each).data.copy() for each in outputs]

        self.run, self.real = run, [_same for _ in outputs]

    def _mnn(self, path: Path) -> None:
        import MNN

        interpreter = MNN.Interpreter(str(path))
        session = interpreter.createSession({"backend": "CPU", "numThread": 1})
        image = interpreter.getSessionInput(session)
        outputs = interpreter.getSessionOutputAll(session)

        def run(tensor: Array) -> list[Array]:
            given = MNN.Tensor(tensor.shape, MNN.Halide_Type_Float, tensor, MNN.Tensor_DimensionType_Caffe)
            image.copyFrom(given)
            interpreter.runSession(session)
            found = []
            for each in outputs.values():
                shape = each.getShape()
                like = np.zeros(shape, np.float32)
                copy = MNN.Tensor(shape, MNN.Halide_Type_Float, like, MNN.Tensor_DimensionType_Caffe)
                each.copyToHostTensor(copy)
                found.append(copy.getNumpyData().reshape(shape).copy())
            return found

        self.run, self.real = run, [_same for _ in outputs]

    def _executorch(self, path: Path) -> None:
        import torch
        from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool
        from executorch.runtime import Runtime

        _unsafe_reset_threadpool(1)
        method = Runtime.get().load_program(path).load_method("forward")

        def run(tensor: Array) -> list[Array]:
            return [each.numpy() for each in method.execute([torch.from_numpy(tensor)])]

        self.run, self.real = run, [_same for _ in range(method.metadata.num_outputs())]

    def _channels_first(self, pixels: Array) -> Array:
        return self._normalised(pixels).transpose(0, 3, 1, 2).copy()

    def _normalised(self, pixels: Array) -> Array:
        return (pixels.astype(np.float32) - np.float32(self.mean)) / np.float32(self.std)


def _affine(scale: float, zero: int) -> Callable[[Array], Array]:
    return lambda integers: scale * (integers.astype(np.float32) - zero)


def _same(real: Array) -> Array:
    return real


def parts(outputs: list[Array], like: dict[int, Array] | None = None) -> dict[int, Array]:
    """Outputs by how many numbers they have, in the layout of `like`."""
    found = {}
    for each in outputs:
        axes = [axis for axis, length in enumerate(each.shape) if length in JOINED]
        pieces = np.split(each, JOINED[each.shape[axes[0]]], axis=axes[0]) if axes else [each]
        found |= {piece.size: piece for piece in pieces}
    return {size: _laid(each, like[size].shape) for size, each in found.items()} if like else found


def _laid(array: Array, shape: tuple[int, ...]) -> Array:
    """Channels go first where they went last."""
    if array.ndim == 4 and array.shape != shape and array.transpose(0, 3, 1, 2).shape == shape:
        array = array.transpose(0, 3, 1, 2)
    return array.reshape(shape)


if __name__ == "__main__":
    told = json.loads(Path(sys.argv[2]).read_text())
    file = File(Path(sys.argv[1]), told)
    if len(sys.argv) > 3:
        seen = [file(each[None]) for each in np.load(told["held"])]
        np.savez(sys.argv[3], *(np.stack(each) for each in zip(*seen, strict=True)))
    else:
        ready = file.enter(np.load(told["frame"]))
        answer(lambda: file.run(ready))
