"""Float TFLite files by onnx2tf, for a network that no integer TFLite file can hold.

An operator that the TFLite writer does not know costs only the TFLite file its integers: ONNX Runtime computes that
operator in float and all others in int8. onnx2tf pins other versions of its dependencies than ours and needs Python
3.12, so it lives in an environment of its own and runs as a program. Its own int8 files are of no use here: LiteRT
refuses those of version 2.6.9 with one scale per channel ("affine_quantization->quantized_dimension != 0").
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import onnx

from vedette.runtime.errors import ConfigProblem

from .tflite.operands import UnsupportedOperator
from .tflite.weight_only_quantization import quantize_weights_only

PROGRAM = "onnx2tf"
TESTED_VERSION = "2.6.9"
TIMEOUT_SECONDS = 1800


def environment_folder() -> Path:
    """Folder of the virtual environment for onnx2tf; it is searched before PATH."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "vedette" / PROGRAM


def find_onnx2tf(cause: UnsupportedOperator) -> Path:
    """Path of the program onnx2tf.

    Args:
        cause: why there is no integer TFLite file

    Raises:
        UnsupportedOperator: onnx2tf is not installed; `cause` with a hint how to install it
    """
    folder = environment_folder()
    in_environment, on_path = folder / "bin" / PROGRAM, shutil.which(PROGRAM)
    if in_environment.is_file():
        return in_environment
    if on_path:
        return Path(on_path)
    install = f"python3.12 -m venv {folder} && {folder}/bin/pip install {PROGRAM}=={TESTED_VERSION}"
    hint = f"{cause.hint}; or install onnx2tf, which makes a float TFLite file beside the int8 ONNX: {install}"
    raise UnsupportedOperator(cause.message, hint=hint)


def read_onnx2tf_version(cause: UnsupportedOperator) -> str:
    """Version of the installed onnx2tf; raises like `find_onnx2tf`."""
    return _run_onnx2tf(find_onnx2tf(cause), ["--version"], cause).split()[-1]


def write_float_tflite(model: onnx.ModelProto, cause: UnsupportedOperator) -> bytes:
    """TFLite file that computes the outputs of `model`, by name, in float; its weights are stored as int8.

    The input of the file is a normalized image of 1 x H x W x 3.

    Args:
        model: float, for an image of 1 x 3 x H x W
        cause: why there is no integer TFLite file

    Raises:
        UnsupportedOperator: onnx2tf is not installed, or cannot convert the model either
    """
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder) / "model.onnx", Path(folder) / "made"
        onnx.save(model, source)
        keep_names = "--copy_onnx_input_output_names_to_tflite"
        _run_onnx2tf(find_onnx2tf(cause), ["-i", str(source), "-o", str(output), "--non_verbose", keep_names], cause)
        file = output / "model_float32.tflite"
        if not file.is_file():
            raise UnsupportedOperator(f"{cause.message}; {PROGRAM} wrote no {file.name}", hint=cause.hint)
        return quantize_weights_only(file.read_bytes())


def _run_onnx2tf(program: Path, arguments: list[str], cause: ConfigProblem) -> str:
    """Run onnx2tf and return its standard output."""
    environment = os.environ | {"PATH": os.pathsep.join([str(program.parent), os.environ.get("PATH", "")])}
    try:
        result = subprocess.run(  # noqa: S603  # the arguments are a list
            [program, *arguments], env=environment, capture_output=True, text=True, check=True, timeout=TIMEOUT_SECONDS
        )
    except subprocess.CalledProcessError as error:
        last_line = next(reversed((error.stderr + error.stdout).strip().splitlines()), "nothing")
        raise UnsupportedOperator(f"{cause.message}; {PROGRAM} fails: {last_line[:200]}", hint=cause.hint) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnsupportedOperator(f"{cause.message}; {PROGRAM}: {error}", hint=cause.hint) from None
    return result.stdout
