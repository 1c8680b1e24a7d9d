"""`make bench-augment`: does fitting to augmented images help under other light, and what does it cost without?

PaDiM on float features of blocks 4 and 10 at 224 pixels is fitted to the good images of the build's split that are to
be fitted (`make bench-light` makes the builds), as they are, and together with three copies of each:

    default         `[augment]` without keys: shift, rotation, brightness and contrast, blur, noise
    illumination    gain, gamma and colour alone, 0.2
    both            the default and illumination 0.2

The threshold is the conformal one of the threshold images under the old light, for a false-alarm rate of 5 %. Good and
defective test images are scored as they are and under the changes of `light.py`. The table also tells which choice the
other sets would have made for each set, by the mean AUROC without a change and under other light, and its regret.

Options: those of `light.py`, and --fit N, the images that are fitted at most.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import click
import light
import numpy as np
import sets
import torch
from torch import Tensor

from vedette.compress.data.augmentation import augment_image
from vedette.compress.data.image_feature_cache import AUGMENTED_COPIES
from vedette.compress.goal.augmentation_settings import AugmentationSettings
from vedette.compress.models import efficientnet_lite, feature_extraction
from vedette.compress.models.anomaly import load_anomaly_model
from vedette.runtime.calibration import independent_threshold
from vedette.runtime.camera import image_files
from vedette.runtime.evaluation.metrics import auroc
from vedette.runtime.inference.preprocess import Preprocess

BLOCKS = (4, 10)
STEP = 1e-3  # of float scores, for the threshold
RATE = 0.05
WAYS: dict[str, AugmentationSettings | None] = {
    "none": None,
    "default": AugmentationSettings(),
    "illumination": AugmentationSettings(shift=0, rotate=0, light=0, blur=0, noise=0, illumination=0.2),
    "both": AugmentationSettings(illumination=0.2),
}
LIGHT = ("gain 1", "gain 2", "gamma 2", "colour 1", "colour 2")
CHANGES = ("none 0", *LIGHT, "shift 1", "shift 2", "blur 2")


def main() -> None:
    options = light.read_options("Fitting to augmented images.", fit=300)
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    for name in options.sets:
        try:
            found[name] = measure(name, options)
        except sets.Absent as reason:
            click.echo(f"{name}: skipped, {reason}", err=True)
            continue
        click.echo(f"[{time.strftime('%H:%M:%S')}] {name}: done", err=True)
        (options.out / "augment.json").write_text(json.dumps(found, indent=2) + "\n")
    text = table(found)
    (options.out / "augment.md").write_text(text)
    click.echo(text)


def measure(name: str, options: Any) -> dict[str, dict[str, dict[str, float]]]:
    bundle, images, _ = light.built(name, options)
    rng, preprocess = np.random.default_rng(options.seed), Preprocess(bundle.manifest.input)
    network = efficientnet_lite.load_backbone(BLOCKS)

    def read(part: str, most: int) -> list[Any]:
        chosen = sorted(rng.permutation(np.array(images[part], object))[:most].tolist())
        return [preprocess(image_files.read_image(path)) for path in chosen]

    def features(pixels: list[Any]) -> list[Tensor]:
        batches = feature_extraction.extract_float_features(network, pixels)
        return [torch.cat(level) for level in zip(*batches, strict=True)]

    pixels = {part: read(part, most) for part, most in (("fit", options.fit), ("threshold", 120))}
    tested = {part: read(part, options.images) for part in ("test", "defect")}
    plain, threshold_features = features(pixels["fit"]), features(pixels["threshold"])
    models: dict[str, Any] = {}
    for way, settings in WAYS.items():
        levels = plain
        if settings is not None:
            copies = [
                augment_image(each[0], settings, rng)[None] for each in pixels["fit"] for _ in range(AUGMENTED_COPIES)
            ]
            levels = [torch.cat(each) for each in zip(plain, features(copies), strict=True)]
        models[way] = load_anomaly_model("padim", efficientnet_lite.load_backbone(BLOCKS), 224)
        models[way].fit(levels, (), torch.zeros(0))
    thresholds = {
        way: independent_threshold.choose_threshold(
            STEP * np.round(scores(model, threshold_features) / STEP), STEP, RATE
        ).score
        for way, model in models.items()
    }
    found: dict[str, dict[str, dict[str, float]]] = {way: {} for way in WAYS}
    for (kind, strength), changes in light.CHANGES.items():
        if f"{kind} {strength}" not in CHANGES:
            continue
        rows: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for change in changes:
            good, defect = (features([change(each[0])[None] for each in tested[part]]) for part in ("test", "defect"))
            for way, model in models.items():
                low, high = scores(model, good), scores(model, defect)
                alarms = {
                    "false": float((low >= thresholds[way]).mean()),
                    "detected": float((high >= thresholds[way]).mean()),
                }
                rows[way].append({"auroc": auroc(low, high)} | alarms)
        for way, each in rows.items():
            found[way][f"{kind} {strength}"] = {key: float(np.mean([row[key] for row in each])) for key in each[0]}
    return found


def scores(model: Any, levels: list[Tensor]) -> Any:
    """The highest cell less half of the mean, of each image."""
    with torch.inference_mode():
        parts = [model([level[start : start + 64] for level in levels])[0] for start in range(0, len(levels[0]), 64)]
    cells = torch.cat(parts).flatten(1)
    return (cells.amax(1) - cells.mean(1) / 2).numpy()


def table(found: dict[str, Any]) -> str:
    """AUROC without a change and under other light, shift and blur; false alarms and detections under other light."""

    def mean(each: dict[str, dict[str, float]], changes: tuple[str, ...], key: str) -> float:
        return float(np.mean([each[change][key] for change in changes]))

    columns = {
        "AUROC, no change": (("none 0",), "auroc"),
        "AUROC, other light": (LIGHT, "auroc"),
        "AUROC, shifted": (("shift 1", "shift 2"), "auroc"),
        "AUROC, blurred": (("blur 2",), "auroc"),
        "false alarms, other light": (LIGHT, "false"),
        "detected, other light": (LIGHT, "detected"),
    }
    lines = []
    for title, (changes, key) in columns.items():
        figures = {name: {way: mean(each[way], changes, key) for way in WAYS} for name, each in found.items()}
        lines += [f"### {title}\n", "| set | " + " | ".join(WAYS) + " |", "|" + " --- |" * (len(WAYS) + 1)]
        figures["mean"] = {way: float(np.mean([each[way] for each in figures.values()])) for way in WAYS}
        lines += [
            f"| {name} | " + " | ".join(f"{each[way]:.3f}" for way in WAYS) + " |" for name, each in figures.items()
        ]
        lines.append("")
    lines += ["### Chosen on the others\n", "| set | chosen | regret |", "| --- | --- | --- |"]
    worth = {
        name: {way: (mean(each[way], ("none 0",), "auroc") + mean(each[way], LIGHT, "auroc")) / 2 for way in WAYS}
        for name, each in found.items()
    }
    for name in found:
        others = [worth[other] for other in found if other != name] or [worth[name]]
        chosen = max(WAYS, key=lambda way: np.mean([each[way] for each in others]))
        lines.append(f"| {name} | {chosen} | {max(worth[name].values()) - worth[name][chosen]:.3f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
