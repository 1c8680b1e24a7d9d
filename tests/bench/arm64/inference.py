"""Runs models, one after the other, inside the emulated core; not to be run by hand, count.py does it.

`os.getppid` marks the borders that the plugin counts between. Its lines and the two kinds printed here go to stderr in
order: `model NAME` before the marks of a model, `refused NAME: why` where it cannot be run.
"""

import os
import sys

import numpy as np

RUNS = 3
TYPES = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8}


def tell(text):
    os.write(2, f"{text}\n".encode())


def sample(shape, dtype):
    rng = np.random.default_rng(7)
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)
    return rng.normal(0, 1, shape).astype(dtype)


def onnx(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feeds = {each.name: sample(each.shape, TYPES[each.type]) for each in session.get_inputs()}
    return lambda: session.run(None, feeds)


def tflite(path):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(path, num_threads=1)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], sample(detail["shape"], detail["dtype"]))
    return interpreter.invoke


for path in sys.stdin.read().splitlines():
    try:
        run = onnx(path) if path.endswith(".onnx") else tflite(path)
    except (RuntimeError, ValueError) as error:
        tell(f"refused {path}: {' '.join(str(error).split())}")
        continue
    run()
    tell(f"model {path}")
    os.getppid()
    for _ in range(RUNS):
        run()
        os.getppid()
