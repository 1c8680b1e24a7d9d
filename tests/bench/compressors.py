"""`make bench-compressors`: what the workshop makes of solar cells for a Pi 4 and a Pi 5, against the float model.

The float model is EfficientNet-Lite0 at 224 pixels, blocks 2, 4 and 10, PaDiM with variances alone (no correlations),
unpruned, in ONNX Runtime. It is fitted to the same images as ours and tested on the same; blocks of 60 cells in file
order stay together. Ours comes from `vedette build --time`, asked to be 16 (pi4) and 30 (pi5) times as fast with a
tenth of the bytes.

- AUROC: on the test images, float against the worse of the int8 files.
- Instructions: predicted from counts (docs/devices.md), float in ONNX Runtime against the int8 file that takes fewer.
- Milliseconds and processor seconds on this machine: one thread, with preprocessing, in turn; the faster file.
- Bytes: of the ONNX files.

`peers.py` holds other people's quantisers against ours, on this float model among others. Options: --seeds 0,1,2,
--asked pi4=16,pi5=30, --time 30m, --out FOLDER. It leaves compressors.json, elpv-float.onnx and, of the first seed,
elpv-pi4.vedette and elpv-pi5.vedette in the folder.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import sets
import torch
from torch import Tensor, nn

from vedette import devices
from vedette.compress.cost import operator_counts
from vedette.compress.data import split
from vedette.compress.data.image_feature_cache import split_good_and_defective
from vedette.compress.evaluation import anomaly_scoring
from vedette.compress.evaluation.model_runners import FloatRunner, Int8Runner, ModelRunner
from vedette.compress.goal import goal_reader
from vedette.compress.graph.torch_export import export_to_onnx
from vedette.compress.models import efficientnet_lite, feature_extraction
from vedette.compress.models.anomaly.feature_fusion import upsample_level
from vedette.compress.models.anomaly.image_score import MapScore
from vedette.compress.models.anomaly.standardization import CELL_PIXELS, LocationStandardizationLayer
from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.keys import Keyring
from vedette.runtime.camera import image_files
from vedette.runtime.evaluation.interleaved_timing import time_interleaved
from vedette.runtime.evaluation.metrics import auroc
from vedette.runtime.inference import backends

SIZE, BLOCKS, LIMIT = 224, (2, 4, 10), 4.0
ASKED = {"pi4": 16.0, "pi5": 30.0}  # as much as makes an x86 core, too, more than 8 times as fast
ROUNDS = 200
GOAL = (
    '[device]\nprofile = "{profile}"\n[goal]\nmin_speedup = {speedup}\nmax_bytes = {bytes}\nfalse_alarm_rate = 0.05\n'
)


class Diagonal(nn.Module):
    """PaDiM with a mean and a variance for each channel at each place, and no correlations."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = efficientnet_lite.load_backbone(BLOCKS)
        shapes = list(zip(self.backbone.channels, self.backbone.strides, strict=True))
        self.levels = nn.ModuleList(
            LocationStandardizationLayer(channels, max(CELL_PIXELS // stride, 1)) for channels, stride in shapes
        )
        self.means = nn.ModuleList(nn.Conv2d(channels, 1, 1, bias=False) for channels, _ in shapes)
        for mean, (channels, _) in zip(self.means, shapes, strict=True):
            nn.init.constant_(mean.weight, 1 / channels)  # type: ignore[arg-type]
        self.reading = MapScore((SIZE // CELL_PIXELS,) * 2, channels=len(shapes))
        self.requires_grad_(False)

    def forward(self, seen: list[Tensor]) -> tuple[Tensor, Tensor]:
        maps = []
        for level, mean, each in zip(self.levels, self.means, seen, strict=True):
            deviation = level(each).clamp(-LIMIT, LIMIT)
            maps.append(upsample_level(mean(deviation * deviation), (SIZE // CELL_PIXELS,) * 2))
        anomaly_map, score = self.reading(torch.cat(maps, dim=1))
        return anomaly_map, score


def fitted(images: split.Split) -> Diagonal:
    """The float model's torch module, fitted to the images of `fit`."""
    detector, spec = Diagonal(), efficientnet_lite.backbone_input_spec(SIZE)
    tensors = list(split.model_inputs(images.fit, spec))
    levels, _ = split_good_and_defective(
        feature_extraction.extract_float_features(detector.backbone, tensors), len(tensors)
    )
    for level, each in zip(detector.levels, levels, strict=True):
        level.fit(each)  # type: ignore[operator]
    return detector


def main() -> None:
    parser = argparse.ArgumentParser(description="Our compressed models of solar cells against the float one.")
    parser.add_argument("--seeds", type=lambda text: list(map(int, text.split(","))), default=[0, 1, 2])
    parser.add_argument("--asked", type=_asked, default=ASKED)
    parser.add_argument("--time", default="30m")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent.parent / "build" / "bench")
    options = parser.parse_args()
    folder = options.out.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    vedette = Path(sys.executable).with_name("vedette")
    if not (folder / "keys").is_dir():
        subprocess.run([vedette, "keygen", folder / "keys"], check=True)
    rows: list[dict[str, Any]] = []
    for seed in options.seeds:
        path, _ = sets.prepare("elpv-mono", Path(), folder / f"compressors-{seed}", seed)
        data = goal_reader.read_goal(path).data
        images = split.audit_and_split(data, path.parent)
        model = export_to_onnx(fitted(images), SIZE)
        whole = model.SerializeToString(deterministic=True)
        (folder / "elpv-float.onnx").write_bytes(whole)
        text = path.read_text()
        for profile, speedup in options.asked.items():
            goal = path.with_name(f"{profile}.toml")
            wish = GOAL.format(profile=profile, speedup=speedup, bytes=len(whole) // 10)
            goal.write_text(text[: text.index("[goal]")].replace("elpv-mono", f"elpv-{profile}", 1) + wish)
            out, started = path.parent / profile, time.monotonic()
            command = [vedette, "build", goal, "--out", out, "--key", folder / "keys" / "vedette.key"]
            done = subprocess.run([*command, "--time", options.time], check=False)
            if done.returncode not in (0, 1):
                raise SystemExit(done.returncode)
            bundle = out / f"elpv-{profile}.vedette"
            minutes = (time.monotonic() - started) / 60
            keys = Keyring.read(folder / "keys")
            rows.append({"seed": seed, "profile": profile, "minutes": minutes, **compared(bundle, keys, model, images)})
            if seed == options.seeds[0]:
                shutil.copy(bundle, folder / bundle.name)
            (folder / "compressors.json").write_text(json.dumps(rows, indent=2) + "\n")
    show(rows)


def _asked(text: str) -> dict[str, float]:
    """`pi4=16,pi5=30`"""
    return {profile: float(speedup) for profile, speedup in (each.split("=") for each in text.split(","))}


def compared(path: Path, keys: Keyring, model: onnx.ModelProto, images: split.Split) -> dict[str, Any]:
    """Our bundle against the float model."""
    bundle, whole = Bundle.open(path, keys), model.SerializeToString(deterministic=True)
    manifest = bundle.manifest
    ours: dict[str, ModelRunner] = {
        name: Int8Runner(backend, manifest) for name, backend in backends.available_backends(bundle, threads=1).items()
    }
    runners: dict[str, ModelRunner] = {"float": FloatRunner(whole, manifest), **ours}
    found = {name: _auroc(runner, images) for name, runner in runners.items()}
    frame = image_files.read_image(images.test[0])
    timings = time_interleaved({name: partial(runner, frame) for name, runner in runners.items()}, ROUNDS)
    seconds = {name: _processor(partial(runner, frame)) for name, runner in runners.items()}
    device = devices.load_profile(manifest.device)
    reference = operator_counts.predict_cost(device, model, "onnx")
    assert reference is not None and reference.instructions is not None  # noqa: PT018
    least = min(manifest.measured["on_device"].values(), key=lambda each: each["instructions"])["instructions"]
    held = len(bundle.model("onnx"))
    return {
        "design": {key: manifest.measured[key] for key in ("detector", "blocks", "input", "rank", "kept")},
        "auroc_float": found["float"],
        "auroc_int8": min(found[name] for name in ours),
        "instructions_float": reference.instructions,
        "instructions_int8": least,
        "fewer_instructions": reference.instructions / least,
        "ms_float": timings["float"].median,
        "ms_int8": min(timings[name].median for name in ours),
        "faster": timings["float"].median / min(timings[name].median for name in ours),
        "processor_seconds_saved": 1 - min(seconds[name] for name in ours) / seconds["float"],
        "bytes_float": len(whole),
        "bytes_int8": held,
        "bytes_share": held / len(whole),
        "parity_max_steps": manifest.measured["parity_max_steps"],
        "goal_met": manifest.goal_met,
    }


def _auroc(runner: ModelRunner, images: split.Split) -> float:
    return auroc(
        anomaly_scoring.score_images(runner, images.test).scores,
        anomaly_scoring.score_images(runner, images.defect).scores,
    )


def _processor(call: Any) -> float:
    """Median processor seconds of a call."""
    taken = []
    for _ in range(ROUNDS):
        start = time.process_time()
        call()
        taken.append(time.process_time() - start)
    return float(np.median(taken))


def show(rows: list[dict[str, Any]]) -> None:
    """A line for each profile: means over the seeds."""
    keys = ("auroc_float", "auroc_int8", "fewer_instructions", "faster", "processor_seconds_saved", "bytes_share")
    sys.stdout.write(f"{'':6}" + "".join(f"{key:>25}" for key in keys) + "\n")
    for profile in sorted({row["profile"] for row in rows}):
        means = [float(np.mean([row[key] for row in rows if row["profile"] == profile])) for key in keys]
        sys.stdout.write(f"{profile:6}" + "".join(f"{mean:>25.4f}" for mean in means) + "\n")


if __name__ == "__main__":
    main()
