"""An object detector of somebody's own becomes the float model that everything is measured against.

It is cut behind its last convolutions (ends.py), takes what the family was trained with as its settings, and may be
built for another input than its file says: where it is convolutions and their like throughout, only the grid changes.
Where the exporter has written sizes down inside, as in the channel shuffles of ShuffleNet, ONNX says so when the shapes
are worked out, and that is passed on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from vedette.runtime.bundle.manifest import Boxes, Input
from vedette.runtime.errors import ConfigProblem

from ...goal.goal_file import Model
from ...goal.imported_model_checks import triple
from . import network, onnx_file, postprocessing_removal, preprocessing_folding, tflite_file
from .detector_families import COCO, FAMILIES, NUMBERS, Family
from .lowering import lower

_GAPS = ("", "???", "n/a", "background")  # what files of labels call channels that mean nothing


class Detector(NamedTuple):
    """One, ready to be quantised."""

    model: onnx.ModelProto
    """Float and lowered."""
    input: Input
    boxes: Boxes
    labels: tuple[str, ...]

    @property
    def about(self) -> dict[str, Any]:
        """What the manifest says of it, as `Fitted` has it."""
        return {"boxes": self.boxes, "resize": self.input.resize, "labels": self.labels}


def load(base: Path, model: Model) -> Detector:
    """The detector that the goal file's `[model]` names.

    Args:
        base: folder of the goal file
        model: what it says

    Raises:
        ConfigProblem: it cannot be read, is not of its family, or has not as many classes as there are labels.
    """
    family, anchors = FAMILIES[str(model.family)], None
    where = f"model.tflite: {base / model.tflite}" if model.tflite else f"model.onnx: {base / str(model.onnx)}"
    if model.tflite:
        raw, anchors = tflite_file.read(base / model.tflite)
    else:
        raw = postprocessing_removal.cut(onnx_file.read(base / str(model.onnx)), where)
    size = None if model.input is None else (model.input, model.input)
    graph = postprocessing_removal.named(_sized(raw, size, where), family, where)
    boxes = Boxes(str(model.family), family.iou)
    if model.family == "ssd":
        boxes = msgspec.structs.replace(boxes, anchors=_anchors(graph, anchors, where))
    labels, gaps = _labels(base, model, _classes(graph, boxes))
    if gaps:
        _without(graph, boxes, gaps)
    graph, mean, std = _entered(preprocessing_folding.unfolded(graph), _settings(model, family))
    graph = lower(graph)
    height, width = (dim.dim_value for dim in graph.graph.input[0].type.tensor_type.shape.dim[2:])
    entry = Input(graph.graph.input[0].name, width, height, mean, std, 1 / std, round(mean), family.resize)
    return Detector(graph, entry, boxes, labels)


def _settings(model: Model, family: Family) -> Model:
    """What the goal file says of pixels, else what the family was trained with."""
    plain = Model()
    said = {key: getattr(model, key) for key in ("order", "mean", "std") if getattr(model, key) != getattr(plain, key)}
    return msgspec.structs.replace(model, **({key: getattr(family, key) for key in ("order", "mean", "std")} | said))


def _entered(graph: onnx.ModelProto, settings: Model) -> tuple[onnx.ModelProto, float, float]:
    """The graph for red-green-blue pixels, and the mean and spread that are left to whoever feeds it."""
    mean, std = np.array(triple(settings.mean)), np.array(triple(settings.std))
    made = preprocessing_folding.normalised(graph, mean, std, settings.order == "bgr")
    return network.normalised(graph, settings) if made is None else made


def _sized(raw: onnx.ModelProto, size: tuple[int, int] | None, where: str) -> onnx.ModelProto:
    image = next(each for each in raw.graph.input if each.name not in {value.name for value in raw.graph.initializer})
    dims = image.type.tensor_type.shape.dim
    sides = tuple(dim.dim_value for dim in dims[2:]) if len(dims) == 4 else ()
    if size is None or sides == size or 0 in sides:
        return onnx_file.plain(raw, size, where)
    resized = onnx.ModelProto.FromString(raw.SerializeToString())
    image = next(each for each in resized.graph.input if each.name == image.name)
    for dim, value in zip(image.type.tensor_type.shape.dim[2:], size, strict=True):
        dim.dim_value = value
    try:
        return onnx_file.plain(resized, size, where)
    except ConfigProblem as problem:
        hint = f"leave model.input out, or export the network for {size[0]} pixels"
        raise ConfigProblem(
            f"{where}: it is made for {sides[1]} x {sides[0]} throughout: {problem.message}", hint=hint
        ) from None


def _outputs(graph: onnx.ModelProto, role: str) -> list[tuple[int, ...]]:
    """Shapes, by level."""
    found = {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in graph.graph.output}
    return [found[name] for name in (f"{role}{number}" for number in range(len(found))) if name in found]


def _classes(graph: onnx.ModelProto, boxes: Boxes) -> int:
    """How many channels a class score has for each box."""
    shapes = _outputs(graph, "class")
    counts = [len(each) for each in boxes.anchors] or [1] * len(shapes)
    return shapes[0][1] // counts[0]


def _anchors(
    graph: onnx.ModelProto, given: NDArray[np.float32] | None, where: str
) -> tuple[tuple[tuple[float, float], ...], ...]:
    """Height and width by level; without those of a file, the ones of TensorFlow's SSD for 300 pixels.

    `ssd_anchor_generator` of the Object Detection API: scales from 0.2 to 0.95, the aspects 1, 2, 1/2, 3, 1/3 and
    once more 1 at the mean scale; the first level has three.
    """
    shapes = _outputs(graph, "box")
    counts = [shape[1] // 4 for shape in shapes]
    if given is None:
        scales = [*np.linspace(0.2, 0.95, len(shapes)), 1.0]
        found = []
        for number, count in enumerate(counts):
            pairs = [(scales[number], each) for each in (1.0, 2.0, 0.5, 3.0, 1 / 3)]
            pairs.append(((scales[number] * scales[number + 1]) ** 0.5, 1.0))
            if number == 0 and count == 3:
                pairs = [(0.1, 1.0), (scales[0], 2.0), (scales[0], 0.5)]
            found.append(tuple((float(s / a**0.5), float(s * a**0.5)) for s, a in pairs))
    else:
        cells = [shape[2] * shape[3] * count for shape, count in zip(shapes, counts, strict=True)]
        if sum(cells) != len(given):
            hint = "leave model.input out: an SSD keeps the size that its boxes were made for"
            raise ConfigProblem(f"{where}: {len(given)} anchors for {sum(cells)} boxes", hint=hint)
        parts = np.split(given[:, 2:], np.cumsum(cells)[:-1])
        found = [
            tuple((float(h), float(w)) for h, w in np.median(part.reshape(-1, count, 2), axis=0))
            for part, count in zip(parts, counts, strict=True)
        ]
    if [len(each) for each in found] != counts:
        raise ConfigProblem(f"{where}: {counts} boxes in a cell, no SSD that is known", hint="bring its TFLite file")
    return tuple(found)


def _labels(base: Path, model: Model, count: int) -> tuple[tuple[str, ...], list[int]]:
    """The labels, and the channels that mean nothing."""
    if model.labels is None:
        if model.family == "ssd" and count in (90, 91):
            kept = [number - (91 - count) for number in NUMBERS]
            return COCO, [channel for channel in range(count) if channel not in kept]
        return (COCO if count == len(COCO) else tuple(f"class {number}" for number in range(count))), []
    file = base / model.labels
    lines = [line.strip() for line in file.read_text(encoding="utf-8", errors="replace").splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    if len(lines) != count and model.family == "ssd" and len(lines) == count - 1:
        lines.insert(0, "background")
    gaps = [number for number, line in enumerate(lines) if line.lower() in _GAPS]
    labels = tuple(line for number, line in enumerate(lines) if number not in gaps)
    if len(lines) != count or len(set(labels)) < len(labels) or not labels:
        hint = "one name for each class, in the order of the network's channels, a line each"
        raise ConfigProblem(f"model.labels: {file}: {len(set(lines))} names for {count} classes", hint=hint)
    return labels, gaps


def _without(model: onnx.ModelProto, boxes: Boxes, gaps: list[int]) -> None:
    """Takes the channels that mean nothing out of the convolutions that give the classes."""
    constants = {value.name: value for value in model.graph.initializer}
    for output in model.graph.output:
        if not output.name.startswith("class"):
            continue
        level = int(output.name.removeprefix("class"))
        count = len(boxes.anchors[level]) if boxes.anchors else 1
        node = next(each for each in model.graph.node if output.name in each.output)
        for name in node.input[1:]:
            values = numpy_helper.to_array(constants[name])
            parts = values.reshape(count, -1, *values.shape[1:])
            kept = np.delete(parts, gaps, axis=1)
            values = np.ascontiguousarray(kept.reshape(-1, *values.shape[1:]))
            constants[name].CopyFrom(numpy_helper.from_array(values, name))
        output.type.tensor_type.shape.dim[1].dim_value = len(values)
