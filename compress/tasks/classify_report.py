"""What the report of a classifier shows: who is taken for whom, what its confidence is worth, and pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedette.runtime.accuracy import reliability
from vedette.runtime.heads.classify import softmax
from vedette.runtime.manifest import UNKNOWN

from ..confidence import Confidence
from ..labelled import Labelled
from ..report import embed, sample

_SAMPLES = 8


def evidence(images: Labelled, scores: NDArray[Any], line: Confidence) -> dict[str, Any]:
    """What fills classify.html; `scores` are the int8 model's of the test images, n x K."""
    truth = np.array(images.labels(images.test))
    probabilities = softmax(scores, line.temperature)
    sure, said = probabilities.max(axis=1), probabilities.argmax(axis=1)
    return {
        "line": line,
        "bins": reliability(sure, said == truth),
        "samples": _samples(images, truth, said, sure, line.level),
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
