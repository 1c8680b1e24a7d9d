"""Images with objects of one's own classes: which classes there are, whether each has enough, and the split.

Each part of the split needs objects of each class. An image is assigned by the rarest class in it, and whole groups
stay together (stratified_split.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from vedette.runtime.errors import ConfigProblem
from vedette.runtime.evaluation import object_annotations
from vedette.runtime.evaluation.annotated_object import GroundTruth
from vedette.runtime.progress import Log

from .audit.findings import AuditResult
from .groups import merge_groups
from .labeled_images import LabeledImages
from .split import SPLIT_FRACTIONS, Split
from .stratified_split import distribute_groups

MIN_OBJECTS = 10
"""Of each class, at least."""
_FILL_ORDER = ("fit", "test", "threshold", "calibrate")


def read_objects(images: Path, labels: Path, wanted: Sequence[str], log: Log) -> tuple[tuple[str, ...], GroundTruth]:
    """The names of the classes, and the objects of each image.

    Args:
        images: a folder
        labels: YOLO files or a COCO file
        wanted: names of the classes, in order; objects of other classes are left out. Empty: all classes that have an
            object. YOLO files without `classes.txt` number these names
        log: told of what is left out

    Raises:
        ConfigProblem: the classes have no names, or a label is invalid.
    """
    known = object_annotations.read_class_names(labels) or tuple(wanted)
    if not known:
        hint = f'write the names into {labels / "classes.txt"}, one per line, or as classes = ["…"] of use = "train"'
        raise ConfigProblem(f"{labels}: the classes have numbers and no names", hint=hint)
    if missing := [name for name in wanted if name not in known]:
        hint = f"the labels have {', '.join(known[:20])}"
        raise ConfigProblem(f"recipe: train: classes: no objects of {missing[0]!r} in {labels}", hint=hint)
    truth = object_annotations.read_annotations(images, labels, known, log)
    present = {each.label for objects in truth.values() for each in objects}
    names = tuple(wanted) or tuple(name for number, name in enumerate(known) if number in present)
    new_index = {known.index(name): number for number, name in enumerate(names)}
    if others := sum(each.label not in new_index for objects in truth.values() for each in objects):
        log(f"left out: {others} objects of classes that are not to be learned")
    return names, {
        path: tuple(each._replace(label=new_index[each.label]) for each in objects if each.label in new_index)
        for path, objects in truth.items()
    }


def split_by_objects(
    images: LabeledImages, audit: AuditResult, truth: GroundTruth, names: Sequence[str], seed: int
) -> Split:
    """Splits images so that each part has objects of each class.

    Args:
        images: labeled `good`
        audit: of these images; those that it leaves out belong to no part
        truth: objects of each image
        names: of the classes
        seed: of the split

    Raises:
        ConfigProblem: a class has too few objects or groups, or none in one part.
    """
    paths = images.usable_images(audit)["good"]
    groups = merge_groups({path: images.groups[path] for path in paths}, [*audit.duplicate_pairs(), *audit.part_pairs])
    classes_in = {path: {each.label for each in truth[path] if not each.crowd} for path in paths}
    _check_counts(paths, truth, groups, names)
    frequency = Counter(label for found in classes_in.values() for label in found)
    rarest = {
        path: min(classes_in[path], key=lambda label: (frequency[label], label), default=len(names)) for path in paths
    }
    fractions = {part: SPLIT_FRACTIONS[part] for part in _FILL_ORDER}
    parts = distribute_groups(rarest, groups, fractions, seed)
    for part, members in parts.items():
        if missing := set(range(len(names))) - {label for path in members for label in classes_in[path]}:
            hint = "another data.seed may help; more images with such objects, or smaller groups (data.group), will"
            raise ConfigProblem(f"data.labels: no object of {names[min(missing)]!r} is left for {part!r}", hint=hint)
    return Split(parts["fit"], parts["calibrate"], parts["threshold"], parts["test"], [], {}, groups=groups)


def _check_counts(paths: Sequence[Path], truth: GroundTruth, groups: Mapping[Path, str], names: Sequence[str]) -> None:
    for number, name in enumerate(names):
        objects = [path for path in paths for each in truth[path] if each.label == number and not each.crowd]
        count = len({groups[path] for path in objects})
        if len(objects) < MIN_OBJECTS or count < len(SPLIT_FRACTIONS):
            hint = (
                f"each class needs {MIN_OBJECTS} objects in {len(SPLIT_FRACTIONS)} images that are not near copies of "
                'each other; a hundred or more is better. Label more, or name the other classes: classes = ["…"]'
            )
            raise ConfigProblem(
                f"data.labels: {name!r} has {len(objects)} objects in {count} groups of images", hint=hint
            )
