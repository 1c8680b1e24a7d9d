"""A network that no integer TFLite file can hold, as a float one: made by onnx2tf, where that is installed.

One operator that the writer does not know costs only the TFLite file its integers: ONNX Runtime computes the operator
in float and everything around it as ever. onnx2tf names the versions of all that it needs, others than ours, and wants
Python 3.12, so it lives in an environment of its own and is run as a program. Its own int8 files are of no use here:
those of 2.6.9 with one scale per channel are refused by LiteRT ("affine_quantization->quantized_dimension != 0").
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import onnx

from vedette.runtime.errors import ConfigProblem

from .tflite import weight_compression
from .tflite.operands import Refused

PROGRAM = "onnx2tf"
VERSION = "2.6.9"  # what this was tried with
SECONDS = 1800  # the longest that it may take


def home() -> Path:
    """Where its environment is looked for before PATH."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "vedette" / PROGRAM


def program(refused: Refused) -> Path:
    """onnx2tf.

    Raises:
        Refused: `refused` again, with what to install: it is not on this machine.
    """
    own, found = home() / "bin" / PROGRAM, shutil.which(PROGRAM)
    if own.is_file() or found:
        return own if own.is_file() else Path(str(found))
    install = f"python3.12 -m venv {home()} && {home()}/bin/pip install {PROGRAM}=={VERSION}"
    hint = f"{refused.hint}; or have a float TFLite file made beside the int8 ONNX: {install}"
    raise Refused(refused.message, hint=hint)


def version(refused: Refused) -> str:
    """Of onnx2tf; raises like `program`."""
    return _run(program(refused), ["--version"], refused).split()[-1]


def write(model: onnx.ModelProto, refused: Refused) -> bytes:
    """A TFLite file that computes the outputs of `model`, by their names, in float; its weights are stored as int8.

    Its images are 1 x H x W x 3, normalised.

    Args:
        model: float, 1 x 3 x H x W
        refused: why there is no integer file

    Raises:
        Refused: onnx2tf is not installed, or cannot make it either.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "model.onnx", Path(folder) / "made"
        onnx.save(model, source)
        names = "--copy_onnx_input_output_names_to_tflite"
        _run(program(refused), ["-i", str(source), "-o", str(made), "--non_verbose", names], refused)
        found = made / "model_float32.tflite"
        if not found.is_file():
            raise Refused(f"{refused.message}; {PROGRAM} made no {found.name}", hint=refused.hint)
        return weight_compression.shrink(found.read_bytes())


def _run(path: Path, arguments: list[str], refused: ConfigProblem) -> str:
    around = os.environ | {"PATH": os.pathsep.join([str(path.parent), os.environ.get("PATH", "")])}
    try:
        done = subprocess.run(  # noqa: S603  # the arguments are a list
            [path, *arguments], env=around, capture_output=True, text=True, check=True, timeout=SECONDS
        )
    except subprocess.CalledProcessError as error:
        last = next(reversed((error.stderr + error.stdout).strip().splitlines()), "nothing")
        raise Refused(f"{refused.message}; {PROGRAM} says: {last[:200]}", hint=refused.hint) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Refused(f"{refused.message}; {PROGRAM}: {error}", hint=refused.hint) from None
    return done.stdout
