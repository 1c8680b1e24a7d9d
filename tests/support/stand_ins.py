"""Stand-ins for what vendors keep to themselves: a compiler and a library, with the documented commands and calls.

They show that our side works; nothing here says anything about the real ones.
"""

from __future__ import annotations

import sys
from pathlib import Path

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

EDGETPU_COMPILER = """#!{python}
import os, sys
sys.path.insert(0, {support!r})
from stand_ins import compile_for_edgetpu
arguments = sys.argv[1:]
if "--version" in arguments:
    print("Edge TPU Compiler version 16.0.384591198")
    sys.exit(0)
if os.path.exists({fails!r}):
    sys.exit("Internal compiler error. Aborting!")
folder = arguments[arguments.index("--out_dir") + 1]
with open(arguments[-1], "rb") as file:
    content = file.read()
with open(os.path.join(folder, arguments[-1].removesuffix(".tflite") + "_edgetpu.tflite"), "wb") as file:
    file.write(compile_for_edgetpu(content))
"""

HAILO_PLATFORM = '''
"""HailoRT's InferModel; an executable is the magic, the size of the errors, and the int8 ONNX file."""
import json, os
import numpy as np, onnxruntime
__version__ = "4.23.0"
class FormatType:
    FLOAT32 = "float32"
class HailoRTInvalidHEFException(Exception):
    pass
class Stream:
    def __init__(self, shape): self.shape, self.buffer = shape, None
    def set_format_type(self, kind): assert kind == FormatType.FLOAT32
    def set_buffer(self, buffer):
        if buffer.shape != self.shape or buffer.dtype != np.float32: raise ValueError("a buffer of another shape")
        self.buffer = buffer
class Ends:
    def __init__(self, facts):
        self.ends = {"": Stream(tuple(facts["input"]["shape"]))}
        self.ends |= {"net/" + name: Stream(tuple(each["shape"])) for name, each in facts["outputs"].items()}
        self.output_names = [name for name in self.ends if name]
    def input(self, name=""): return self.ends[name]
    def output(self, name=""): return self.ends[name]
class Model(Ends):
    def __init__(self, path):
        content = open(path, "rb").read()
        if content[:4] != b"\\x01HEF": raise HailoRTInvalidHEFException("Invalid HEF")
        size = int.from_bytes(content[4:8], "big")
        self.facts = json.loads(content[8:8 + size])
        super().__init__(self.facts)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.x64quantprecision", "1")  # exact without VNNI, too
        self.session = onnxruntime.InferenceSession(content[8 + size:], options, providers=["CPUExecutionProvider"])
    def configure(self): return self
    def create_bindings(self): return Ends(self.facts)
    def run(self, bindings, timeout):
        spec = self.facts["input"]
        pixels = np.rint(bindings[0].input().buffer / spec["scale"] + spec["zero_point"]).astype(np.uint8)
        names = list(self.facts["outputs"])
        for name, array in zip(names, self.session.run(names, {spec["name"]: pixels[None]})):
            out = self.facts["outputs"][name]
            steps = array.astype(np.float32) + self.facts["error"] - out["zero_point"]
            bindings[0].output("net/" + name).buffer[...] = (steps * out["scale"]).reshape(out["shape"])
    def shutdown(self): self.session = None
class VDevice:
    def create_infer_model(self, path): return Model(path)
    def release(self): pass
'''


def install_edgetpu_compiler(folder: Path) -> Path:
    """Puts a stand-in of `edgetpu_compiler` into `folder`; it fails while the file that is returned exists."""
    fails, program = folder / "fails", folder / "edgetpu_compiler"
    support = str(Path(__file__).parent)
    program.write_text(EDGETPU_COMPILER.format(python=sys.executable, support=support, fails=str(fails)))
    program.chmod(0o755)
    return fails


def install_hailo_platform(folder: Path) -> None:
    """Puts a stand-in of the package `hailo_platform` into `folder`."""
    (folder / "hailo_platform.py").write_text(HAILO_PLATFORM)


def compile_for_edgetpu(content: bytes, operator: bytes = b"edgetpu-custom-op") -> bytes:
    """The TFLite file with an operator code of the Edge TPU."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = 32
    code.customCode = operator
    model.operatorCodes.append(code)
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
