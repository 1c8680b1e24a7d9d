"""The float models that quantisers are compared on, each with images to calibrate with and images held out.

lite0        EfficientNet-Lite0 with its 1000 classes, as in `lite0.py`: 64 whole photographs of COCO128 calibrate,
             the other 64 and a random crop of each are held out
elpv         PaDiM with variances alone on solar cells, the float model of `compressors.py`, seed 0: 64 of the images
             that it was fitted to calibrate; those of `test` and the defective ones are held out
fastestdet   FastestDet at 352 pixels: the whole photographs of both halves, scaled to a square
nanodet      NanoDet-m at 320 pixels: the same, with one mean and one spread for its channels (114, 57), near its own

The first two are torch modules of ours and lie there as such, too (`module` in about.json), for what quantises modules.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import lite0
import numpy as np
import onnx
import sets
import torch
from compressors import SIZE as CELL
from compressors import Diagonal, fitted
from numpy.typing import NDArray
from torch import Tensor, nn

from vedette.compress.data import split
from vedette.compress.goal import goal_reader
from vedette.compress.graph.importers import onnx_file
from vedette.compress.graph.torch_export import export_module, export_to_onnx
from vedette.compress.models import efficientnet_lite
from vedette.runtime.bundle.manifest import ModelInput
from vedette.runtime.camera import image_files

IMAGES = 64
DETECTORS = {"fastestdet": ("FastestDet_352", 0.0, 255.0), "nanodet": ("nanodet_m_320", 114.0, 57.0)}
Made = tuple[onnx.ModelProto, NDArray[Any], NDArray[Any], dict[str, Any]]


class Cells(nn.Module):
    """Backbone and detector as one module: N x 3 x H x W, normalised -> map and score."""

    def __init__(self, detector: Diagonal) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = self.detector(self.detector.backbone(image))
        return found


def prepare(name: str, data: Path, folder: Path) -> dict[str, Any]:
    """What `about.json` in `folder` says of a subject; where there is none yet, it and what it names are made.

    Raises:
        sets.Absent: its model or its images are not on this machine.
    """
    path = folder / "about.json"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        model, calibration, held, about = MAKERS[name](data, folder)
        np.save(folder / "calibration.npy", calibration)
        np.save(folder / "held.npy", held)
        onnx.save(model, folder / "float.onnx")
        about |= {"input": model.graph.input[0].name, "images": [len(calibration), len(held)]}
        path.write_text(json.dumps(about))
    about = json.loads(path.read_text())
    files = {"float": "float.onnx", "module": "float.pt", "pixels": "calibration.npy", "held": "held.npy"}
    return about | {key: str(folder / each) for key, each in files.items() if (folder / each).is_file()}


def _classifier(data: Path, folder: Path) -> Made:
    shown, held = lite0.images(_photographs(data))
    module = lite0.Lite0().eval()
    torch.save(module, folder / "float.pt")
    about = {"mean": lite0.SPEC.mean, "std": lite0.SPEC.std, "metric": "top-1"}
    return export_module(module, lite0.SIZE, ("scores",)), np.concatenate(shown[::2]), np.concatenate(held), about


def _cells(_: Path, folder: Path) -> Made:
    path, _folders = sets.prepare("elpv-mono", Path(), folder.parent.parent / "peers-elpv", 0)
    images, spec = (
        split.audit_and_split(goal_reader.read_goal(path).data, path.parent),
        efficientnet_lite.backbone_input_spec(CELL),
    )
    some = [images.fit[place] for place in np.linspace(0, len(images.fit) - 1, IMAGES).astype(int)]
    held = [*images.test, *images.defect]
    about = {"mean": spec.mean, "std": spec.std, "metric": "AUROC", "good": len(images.test)}
    about["paths"] = [str(each.resolve()) for each in held]
    detector = fitted(images).eval()
    torch.save(Cells(detector), folder / "float.pt")
    return export_to_onnx(detector, CELL), seen(some, spec), seen(held, spec), about


def seen(paths: list[Path], spec: ModelInput) -> NDArray[Any]:
    """Images as a model takes them, n x height x width x 3, uint8."""
    return np.concatenate(list(split.model_inputs(paths, spec)))


def _detector(name: str) -> Callable[[Path, Path], Made]:
    file, mean, std = DETECTORS[name]

    def made(data: Path, _: Path) -> Made:
        path = data / "models" / name / f"{file}.onnx"
        if not path.is_file():
            raise sets.Absent(f"no models/{name} in the data root (--data)")
        model = onnx_file.canonicalize_graph(onnx_file.read_onnx_file(path), None, name)
        side = model.graph.input[0].type.tensor_type.shape.dim[2].dim_value
        paths = image_files.find_images(_photographs(data))
        scaled = [
            cv2.resize(image_files.read_image(each), (side, side), interpolation=cv2.INTER_AREA) for each in paths
        ]
        about = {"mean": mean, "std": std, "metric": None, "own": True}
        return model, np.stack(scaled[::2]), np.stack(scaled[1::2]), about

    return made


def _photographs(data: Path) -> Path:
    folder = data / "coco128" / "images"
    if not folder.is_dir():
        raise sets.Absent("no coco128/images in the data root (--data)")
    return folder


MAKERS = {"lite0": _classifier, "elpv": _cells, **{name: _detector(name) for name in DETECTORS}}
