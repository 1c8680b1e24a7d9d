"""The decisions of an attribute study: from a table, or a bundle judges repeated pictures of parts of known truth.

The folder of pictures:

    good/PART/LOOK/*.png        LOOK is a condition: a light, a position; it is the appraiser, its pictures the trials
    defect/PART/*.png           without folders of looks each picture is a trial of the bundle

A folder named good, accept or ok holds good parts, every other one bad parts.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

from ..bundle.bundle import Bundle
from ..camera import image_files
from ..errors import BundleProblem, ConfigProblem
from ..inference import heads
from ..inference.golden_outputs import select_backend
from ..inference.pipeline import InferencePipeline
from ..inference.prediction import PART_NOT_FOUND, Prediction
from ..progress import Progress, no_progress
from ..statistics.attribute_study import Decision

COLUMNS = ("part", "reference", "appraiser", "trial", "decision")
GOOD_WORDS = frozenset({"1", "accept", "good", "ok", "pass"})
BAD_WORDS = frozenset({"0", "bad", "defect", "error", "fail", "ng", "nok", "reject", "warn"})
"""`warn` and `error` count as rejected: only `accept` lets a part pass."""
_JUDGED_TASKS = ("anomaly", "classify", "detect")


class _Picture(NamedTuple):
    part: str
    look: str
    trial: str
    is_good: bool
    path: Path


def read_decisions(path: Path) -> list[Decision]:
    """The decisions of a CSV file with the columns COLUMNS; `look` may stand for `appraiser`.

    Raises:
        ConfigProblem: the file cannot be read, a column is missing, or a word is neither good nor bad.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            names = ["appraiser" if name == "look" else name for name in reader.fieldnames or ()]
            reader.fieldnames = names
            if missing := [name for name in COLUMNS if name not in names]:
                hint = f"the first line must name the columns {', '.join(COLUMNS)}"
                raise ConfigProblem(f"{path}: no column {', '.join(missing)}", hint=hint)
            return [_read_row(row, f"{path}, line {reader.line_num}") for row in reader]
    except OSError as error:
        raise ConfigProblem(f"{path}: {error.strerror}", hint="name a CSV file or a folder of pictures") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigProblem(f"{path}: not a CSV file in UTF-8: {error}", hint="save it as CSV in UTF-8") from None


def _read_row(row: dict[str, str | None], place: str) -> Decision:
    part, reference, appraiser, trial, decision = ((row.get(name) or "").strip() for name in COLUMNS)
    if not part or not appraiser:
        raise ConfigProblem(f"{place}: no part or no appraiser", hint="every line names both")
    return Decision(part, appraiser, trial, _is_good(decision, place), _is_good(reference, place))


def _is_good(word: str, place: str) -> bool:
    lower = word.lower()
    if lower not in GOOD_WORDS | BAD_WORDS:
        hint = f"good: {', '.join(sorted(GOOD_WORDS))}; bad: {', '.join(sorted(BAD_WORDS))}"
        raise ConfigProblem(f"{place}: {word!r} is neither good nor bad", hint=hint)
    return lower in GOOD_WORDS


def judge_pictures(
    bundle: Bundle, folder: Path, accept: Collection[str] = (), progress: Progress = no_progress
) -> list[Decision]:
    """The decisions of a bundle about repeated pictures of parts, with the daemon's own code.

    Args:
        bundle: a verified bundle
        folder: of the pictures, as described above
        accept: classifiers: names of the classes of good parts
        progress: shows the progress of the loop over the pictures

    Raises:
        BundleProblem: the bundle's task does not judge parts, or no back end reproduces its golden outputs.
        ConfigProblem: the folder holds no parts, an image cannot be read, or `accept` names no class.
    """
    accepts = _choose_rule(bundle, accept)
    pictures = _list_pictures(folder, bundle.manifest.name)
    pipeline = InferencePipeline(bundle, select_backend(bundle, "auto", 1), heads.load_head(bundle.manifest))
    decisions = []
    for each in progress(pictures, "looks"):
        accepted = accepts(pipeline.predict(0.0, image_files.read_image(each.path)) or ())
        decisions.append(Decision(each.part, each.look, each.trial, accepted, each.is_good))
    return decisions


def _choose_rule(bundle: Bundle, accept: Collection[str]) -> Callable[[tuple[Prediction, ...]], bool]:
    manifest = bundle.manifest
    if manifest.task not in _JUDGED_TASKS:
        hint = f"a study judges bundles of the tasks {', '.join(_JUDGED_TASKS)}"
        raise BundleProblem(f"{bundle.path}: task {manifest.task} does not judge parts", hint=hint)
    if manifest.task == "classify":
        if not accept or (unknown := set(accept) - set(manifest.classes)):
            text = f"--accept names no class {', '.join(unknown)}" if accept else "which classes are good is not known"
            raise ConfigProblem(text, hint=f"--accept one or several of {', '.join(manifest.classes)}")
        return lambda predictions: all(each.label in accept for each in predictions) and bool(predictions)
    if accept:
        raise ConfigProblem("--accept is for classifiers", hint="leave it out: the bundle's threshold decides")
    threshold = manifest.decision_threshold
    return lambda predictions: all(each.score < threshold and each.label != PART_NOT_FOUND for each in predictions)


def _list_pictures(folder: Path, model: str) -> list[_Picture]:
    kinds = sorted(each for each in folder.iterdir() if each.is_dir()) if folder.is_dir() else []
    parts = [(kind, part) for kind in kinds for part in sorted(kind.iterdir()) if part.is_dir()]
    if not parts:
        hint = "it should hold good/PART/*.png and defect/PART/*.png, a folder for each part"
        raise ConfigProblem(f"{folder}: no folders of parts in it", hint=hint)
    pictures = []
    for kind, part in parts:
        looks = {each.name: each for each in sorted(part.iterdir()) if each.is_dir()} or {model: part}
        for look, place in looks.items():
            for trial, path in enumerate(image_files.find_images(place), 1):
                is_good = kind.name.lower() in GOOD_WORDS
                pictures.append(_Picture(f"{kind.name}/{part.name}", look, str(trial), is_good, path))
    return pictures
