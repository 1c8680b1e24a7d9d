"""One of our models in a process of its own, to be timed: `ours.py fp32|int8_onnx NAME.vedette KEYS IMAGE`.

The int8 model runs through what the daemon runs, and nothing of the workshop is loaded.
"""

from __future__ import annotations

import sys
from pathlib import Path

from turns import answer

from vedette.runtime import backends, picture
from vedette.runtime.bundle import Bundle
from vedette.runtime.keys import Keyring
from vedette.runtime.preprocess import Preprocess


def main(model: str, path: Path, keys: Path, image: Path) -> None:
    bundle = Bundle.open(path, Keyring.read(keys))
    pixels = picture.read(image)
    if model == "fp32":
        from vedette.compress.runners import Float

        run = Float(path.with_suffix(".float.onnx").read_bytes(), bundle.manifest)
        answer(lambda: run(pixels))
    else:
        preprocess, backend = Preprocess(bundle.manifest.input), backends.load("onnx", bundle)
        answer(lambda: backend.run(preprocess(pixels)))


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
