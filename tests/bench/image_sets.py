"""Float features of the sets that benchmarks compare on, and figures of curves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import sets
import torch
from numpy.typing import NDArray
from torch import Tensor

from vedette.compress.models import efficientnet_lite, feature_extraction
from vedette.compress.models.anomaly import load_anomaly_model
from vedette.runtime.camera import image_files
from vedette.runtime.inference.preprocess import Preprocess

SIZE = 224
BLOCKS = (4, 10)
COLORS = ("#8a97a6", "#29528c", "#d08a1d", "#2f7d5b", "#c2452d", "#7a4f9a", "#4a90a4", "#6b5a3a", "#b04a7b")


class ImageSet(NamedTuple):
    """Images of one set, as the input of a model, and their features."""

    good_images: list[NDArray[Any]]
    good: list[Tensor]
    defective: list[Tensor]
    groups: list[str]
    good_paths: list[Path]
    defective_paths: list[Path]


def read_set(name: str, options: Any, seed: int, blocks: tuple[int, ...] = BLOCKS) -> ImageSet:
    """At most `options.good` good and `options.defective` defective images of a set, drawn from the seed."""
    good, defective, groups = sets.list_images(name, options, seed, np.random.default_rng(seed))
    preprocess = Preprocess(efficientnet_lite.backbone_input_spec(SIZE))
    images = [preprocess(image_files.read_image(path)) for path in (*good, *defective)]
    levels = extract(images, blocks)
    return ImageSet(
        images[: len(good)],
        [level[: len(good)] for level in levels],
        [level[len(good) :] for level in levels],
        groups,
        good,
        defective,
    )


def extract(images: Iterable[NDArray[Any]], blocks: tuple[int, ...] = BLOCKS) -> list[Tensor]:
    """Features of images of 1 x SIZE x SIZE x 3, uint8."""
    network = efficientnet_lite.load_backbone(blocks)
    batches = feature_extraction.extract_float_features(network, images)
    return [torch.cat(level) for level in zip(*batches, strict=True)]


def fit(detector: str, good: Sequence[Tensor], blocks: tuple[int, ...] = BLOCKS, **settings: Any) -> Any:
    """A float anomaly model of good images; `settings` are attributes of it that are set before."""
    model: Any = load_anomaly_model(detector, efficientnet_lite.load_backbone(blocks), SIZE)
    for key, value in settings.items():
        setattr(model, key, value)
    far = [level[:8] * 4 for level in good]  # so far that the unit of PatchCore's distance clips nothing
    model.fit(good, far, torch.zeros(len(far[0]), SIZE // 8, SIZE // 8))
    return model


def score(model: Any, features: Sequence[Tensor]) -> NDArray[Any]:
    """Scores of images."""
    with torch.inference_mode():
        batches = zip(*(level.split(50) for level in features), strict=True)
        return torch.cat([model(batch)[1] for batch in batches]).numpy()


def divide_groups(groups: Sequence[str], share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which images belong to the first part, which has about this share of the images and whole groups, but not all."""
    names = sorted(set(groups))
    rng.shuffle(names)
    sizes = {name: groups.count(name) for name in names}
    chosen: set[str] = set()
    for name in names[:-1]:
        if sum(sizes[each] for each in chosen) < share * len(groups):
            chosen.add(name)
    return np.array([group in chosen for group in groups])


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table; numbers get three decimals."""
    cells = [[f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in (heads, ["---"] * len(heads), *cells))


def write_chart(
    path: Path,
    title: str,
    x_title: str,
    ticks: Sequence[str],
    curves: Mapping[str, Sequence[float]],
    *,
    spreads: Mapping[str, Sequence[float]] | None = None,
    lines: bool = True,
) -> None:
    """Curves over equally spaced ticks, as SVG, with bars of `spreads` up and down; `lines=False` draws marks alone."""
    bars = spreads or {}
    ends = [
        value + sign * bar
        for name, curve in curves.items()
        for value, bar in zip(curve, bars.get(name, [0.0] * len(curve)), strict=True)
        for sign in (-1, 1)
        if not np.isnan(value)
    ]
    low, high = min(ends), max(ends)
    low, high = low - 0.05 * (high - low or 1), high + 0.05 * (high - low or 1)
    # Room for marks and bars beside each other.
    margin = 0 if lines and not bars else 20
    x = [60 + margin + (340 - 2 * margin) * index / (len(ticks) - 1) for index in range(len(ticks))]
    small = ' font-size="9"' if len(ticks) > 6 else ""
    text = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 620 300" font-family="sans-serif" font-size="12">',
        '<rect width="620" height="300" fill="#fff"/>',
        f'<text x="60" y="20" font-weight="bold">{title}</text>',
        '<rect x="60" y="30" width="340" height="220" fill="none" stroke="#d9dfe6"/>',
        f'<text x="230" y="290" text-anchor="middle">{x_title}</text>',
    ]
    for at, tick in zip(x, ticks, strict=True):
        text.append(f'<text x="{at:.0f}" y="268" text-anchor="middle"{small}>{tick}</text>')

    def place(value: float) -> float:
        return 250 - 220 * (value - low) / (high - low)

    text += [
        f'<text x="54" y="{place(level) + 4:.0f}" text-anchor="end">{level:.3f}</text>'
        for level in np.linspace(low, high, 5)
    ]
    for number, (name, curve) in enumerate(curves.items()):
        color = COLORS[number % len(COLORS)]
        # Side by side, so that marks and bars of one tick do not cover each other.
        aside = 3.0 * (number - (len(curves) - 1) / 2) if bars or not lines else 0.0
        points = [(at + aside, value) for at, value in zip(x, curve, strict=True) if not np.isnan(value)]
        if lines:
            line = " ".join(f"{at:.1f},{place(value):.1f}" for at, value in points)
            text.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>')
        else:
            text += [f'<circle cx="{at:.1f}" cy="{place(value):.1f}" r="4" fill="{color}"/>' for at, value in points]
        for at, value, bar in zip(x, curve, bars.get(name, ()), strict=False):
            if bar > 0:
                span = f"M{at + aside:.1f} {place(value - bar):.1f}V{place(value + bar):.1f}"
                text.append(f'<path d="{span}" stroke="{color}"/>')
        text.append(f'<text x="412" y="{50 + 20 * number}" fill="{color}">{name}</text>')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*text, "</svg>"]) + "\n")
