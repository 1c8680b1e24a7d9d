"""One of our models in a process of its own, to be timed: `ours.py fp32|int8_onnx NAME.vedette KEYS IMAGE`.

The int8 model runs through what the daemon runs, and nothing of the workshop is loaded.
"""

from __future__ import annotations

import sys
from pathlib import Path

from turns import answer

from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.keys import Keyring
from vedette.runtime.camera import image_files
from vedette.runtime.inference import backends
from vedette.runtime.inference.preprocess import Preprocess


def main(model: str, path: Path, keys: Path, image: Path) -> None:
    bundle = Bundle.open(path, Keyring.read(keys))
    pixels = image_files.read_image(image)
    if model == "fp32":
        from vedette.compress.evaluation.model_runners import FloatRunner

        run = FloatRunner(path.with_suffix(".float.onnx").read_bytes(), bundle.manifest)
        answer(lambda: run(pixels))
    else:
        preprocess, backend = Preprocess(bundle.manifest.input), backends.load_backend("onnx", bundle)
        answer(lambda: backend.run(preprocess(pixels)))


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
