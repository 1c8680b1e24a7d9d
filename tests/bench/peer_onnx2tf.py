"""onnx2tf, ONNX to TFLite without TensorFlow (its back end `flatbuffer_direct`), or with it.

float          no quantisation: what litert-quantizer starts from
per-channel    integers throughout, weights with a scale per channel
per-tensor     the same with one per tensor
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import job
import numpy as np
import onnx2tf

# It calls onnxsim by its name.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def quantise(told: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings: dict[str, Any] = {}
        ending = "_float32.tflite"
        if told["way"] != "float":
            images = f"{folder}/calibration.npy"
            np.save(images, np.concatenate(job.images(told)).transpose(0, 2, 3, 1))
            ones = np.ones((1, 1, 1, 3), np.float32)
            settings = {"output_integer_quantized_tflite": True}
            if told["way"] == "tensorflow":
                settings |= {"tflite_backend": "tf_converter"}
            else:
                settings |= {"quant_type": told["way"]}
            settings["custom_input_op_name_np_data_path"] = [[told["input"], images, 0 * ones, ones]]
            ending = "_full_integer_quant.tflite"
        out, model = (
            f"{folder}/out",
            shutil.copy(told["float"], f"{folder}/float.onnx"),
        )  # it simplifies what it is given
        onnx2tf.convert(model, output_folder_path=out, non_verbose=True, **settings)
        (made,) = Path(out).glob(f"*{ending}")
        shutil.copy(made, f"{told['out']}.tflite")


if __name__ == "__main__":
    job.run(quantise, "onnx2tf", "onnx")
