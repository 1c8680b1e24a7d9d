"""NNCF on a torch module, for the subjects that are one of ours: float.pt, which `subjects.py` left.

performance   its default: symmetric activations, fast bias correction
mixed         asymmetric activations, fast bias correction

What comes of it is written as its manual has it: `nncf.strip`, so that torch's own fake quantisation stands in the
network, then torch's export to ONNX with quantising and dequantising nodes.

NNCF has a C++ compiler build its functions the first time; that takes minutes and is not counted.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ |= {"NNCF_EXTENSION_LOAD_TIMEOUT": "0", "TORCH_EXTENSIONS_DIR": str(Path(sys.prefix, "extensions"))}
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # ninja is there

import job
import nncf
import torch
from nncf.torch.quantization.extensions import QuantizedFunctionsCPU

OPSET = 17


def quantise(told: dict[str, Any]) -> None:
    images = [torch.from_numpy(each) for each in job.images(told)]
    module = torch.load(told["module"], weights_only=False).eval()
    preset = nncf.QuantizationPreset.PERFORMANCE if told["way"] == "performance" else nncf.QuantizationPreset.MIXED
    made = nncf.quantize(module, nncf.Dataset(images), preset=preset, subset_size=len(images))
    plain = nncf.strip(made, do_copy=False, example_input=images[0])
    torch.onnx.export(plain, (images[0],), f"{told['out']}.onnx", opset_version=OPSET, dynamo=False)


if __name__ == "__main__":
    torch.set_num_threads(1)
    QuantizedFunctionsCPU.get("Quantize_forward")
    job.run(quantise, "nncf", "torch", "onnx")
