"""What the report of a classifier shows: who is taken for whom, what its confidence is worth, and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedette.runtime.bundle.manifest import UNKNOWN
from vedette.runtime.evaluation.metrics import reliability
from vedette.runtime.inference.heads.classify import softmax

from ..data.stratified_split import Labelled
from ..evaluation.confidence_calibration import Confidence
from ..evaluation.disagreement import Pair, between
from .html_report import embed, sample

_SAMPLES = 8


def evidence(
    images: Labelled, seen: dict[str, NDArray[Any]], line: Confidence, float_line: Confidence
) -> dict[str, Any]:
    """What fills classify.html.

    Args:
        images: how they were divided
        seen: each model's scores of the test images, n x K
        line: between answers and `unknown`
        float_line: the one that the float model would have
    """
    scores = seen["int8_onnx"]
    truth = np.array(images.labels(images.test))
    probabilities = softmax(scores, line.temperature)
    sure, said = probabilities.max(axis=1), probabilities.argmax(axis=1)
    return {
        "line": line,
        "bins": reliability(sure, said == truth),
        "samples": _samples(images, truth, said, sure, line.level),
        **disagreement(images.test, images.classes, (seen["fp32"], scores), (float_line, line)),
    }


def disagreement(
    paths: Sequence[Path],
    names: Sequence[str],
    scores: tuple[NDArray[Any], NDArray[Any]],
    lines: tuple[Confidence, Confidence] | None,
) -> dict[str, Any]:
    """Where float and int8 disagree.

    Args:
        paths: test images
        names: of the classes
        scores: float's and int8's, n x K
        lines: of each; None: nothing is ever unknown
    """
    temperatures = [line.temperature for line in lines] if lines else [1.0, 1.0]
    levels = [line.level for line in lines] if lines else [0.0, 0.0]
    shares = [softmax(each, temperature) for each, temperature in zip(scores, temperatures, strict=True)]
    sure, best = ([getattr(each, how)(axis=1) for each in shares] for how in ("max", "argmax"))
    answers = [np.where(one >= level, who, -1) for one, who, level in zip(sure, best, levels, strict=True)]

    def said(model: int, place: int) -> str:
        text = f"{names[best[model][place]]} {sure[model][place]:.3f}"
        return text if answers[model][place] >= 0 else f"{UNKNOWN} ({text})"

    pairs = (
        Pair(
            place,
            path,
            said(0, place),
            said(1, place),
            bool(answers[0][place] != answers[1][place]),
            float(np.abs(shares[0][place] - shares[1][place]).max()),
        )
        for place, path in enumerate(paths)
    )
    what = "the answer being the likeliest class"
    what += f", or {UNKNOWN} below a confidence set for each model by itself" if lines else ""
    apart = between(pairs, what)
    return {
        "apart": apart,
        "apart_pictures": apart.pictures(lambda pair: embed(sample(pair.path))),
        "apart_wide": False,
    }


def _samples(
    images: Labelled, truth: NDArray[Any], said: NDArray[Any], sure: NDArray[Any], level: float
) -> list[dict[str, Any]]:
    """The surest mistakes first, for they are the worst; then what was too doubtful to say; then what goes well."""
    wrong, heard = said != truth, sure >= level
    rows = []
    for title, which, order in (
        ("Wrong, the surest first", wrong & heard, np.argsort(-sure)),
        ("Answered unknown, the least sure first", ~heard, np.argsort(sure)),
        ("Right, the least sure first", ~wrong & heard, np.argsort(sure)),
    ):
        pictures = []
        for index in [each for each in order if which[each]][:_SAMPLES]:
            path = images.test[index]
            pictures.append(
                {
                    "name": path.name,
                    "truth": images.classes[truth[index]],
                    "said": images.classes[said[index]] if heard[index] else UNKNOWN,
                    "sure": float(sure[index]),
                    "image": embed(sample(path)),
                }
            )
        if pictures:
            rows.append({"title": title, "pictures": pictures})
    return rows
