"""Import of the user's object detector as a lowered float ONNX model.

The import removes everything behind the last convolutions (postprocessing_removal.py), takes its settings from the
detector family unless the goal file sets them, and can change the input size. A purely convolutional network only gets
another grid, and so do channel shuffles and resizes with fixed sizes inside (fixed_sizes.py). A network with other
fixed sizes fails ONNX shape inference at another size; the import reports that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from vedette.runtime.bundle.box_decoding import BoxDecoding
from vedette.runtime.bundle.manifest import ModelInput
from vedette.runtime.errors import ConfigProblem

from ...goal.goal_tables import ModelTable
from ...goal.imported_model_checks import expand_per_channel
from ...models.design import choose_input
from ...models.image_size import height_and_width
from ..editing import copy_model, list_inputs, map_initializers, map_producers, read_shape, replace_initializer
from .detector_family_table import COCO_CATEGORY_IDS, COCO_LABELS, DetectorFamily, find_family
from .fixed_sizes import scale_fixed_sizes
from .lowering import lower_graph
from .network_import import prepend_normalization
from .onnx_file import canonicalize_graph, read_onnx_file
from .postprocessing_removal import name_outputs, remove_postprocessing
from .preprocessing_folding import fold_normalization, fold_space_to_depth
from .tflite_ssd import read_tflite_ssd

_UNUSED_LABELS = ("", "???", "n/a", "background")
"""Entries of label files for channels without a class."""


class ImportedDetector(NamedTuple):
    """An object detector, ready to be quantized."""

    model: onnx.ModelProto
    """Float and lowered; one output per role and pyramid level, such as `box0`."""
    input_spec: ModelInput
    boxes: BoxDecoding
    labels: tuple[str, ...]

    @property
    def manifest_fields(self) -> dict[str, Any]:
        """Manifest fields that the task adds for this model."""
        return {"boxes": self.boxes, "resize": self.input_spec.resize, "labels": self.labels}


def load_imported_detector(goal_folder: Path, settings: ModelTable) -> ImportedDetector:
    """Load the detector that the goal file's table `[model]` names.

    Args:
        goal_folder: folder of the goal file; paths in `settings` are relative to it
        settings: the table `[model]`

    Raises:
        ConfigProblem: the file cannot be read, its outputs do not match the family, or the number of labels is wrong
    """
    family, anchors = find_family(str(settings.family), settings.boxes), None
    if settings.tflite:
        source = f"model.tflite: {goal_folder / settings.tflite}"
        model, anchors = read_tflite_ssd(goal_folder / settings.tflite)
    else:
        source = f"model.onnx: {goal_folder / str(settings.onnx)}"
        model = remove_postprocessing(read_onnx_file(goal_folder / str(settings.onnx)), source)
    size = None if settings.input is None else height_and_width(choose_input(settings))
    model = name_outputs(_resize_input(model, size, source), family, source)
    boxes = BoxDecoding("grid" if family.grid else str(settings.family), family.iou_threshold, grid=family.grid)
    if settings.family == "ssd":
        boxes = msgspec.structs.replace(boxes, anchors=_compute_anchors(model, anchors, source))
    labels, unused_channels = _read_labels(goal_folder, settings, _count_classes(model, boxes))
    if unused_channels:
        _remove_class_channels(model, boxes, unused_channels)
    model, mean, std = _normalize_input(fold_space_to_depth(model), _fill_settings(settings, family))
    model = lower_graph(model)
    image = model.graph.input[0]
    height, width = read_shape(image)[2:]
    input_spec = ModelInput(image.name, width, height, mean, std, 1 / std, round(mean), family.resize)
    return ImportedDetector(model, input_spec, boxes, labels)


def _fill_settings(settings: ModelTable, family: DetectorFamily) -> ModelTable:
    """Pixel settings of the goal file; the family's settings where the goal file has the defaults."""
    keys, defaults = ("order", "mean", "std"), ModelTable()
    explicit = {key: getattr(settings, key) for key in keys if getattr(settings, key) != getattr(defaults, key)}
    return msgspec.structs.replace(settings, **({key: getattr(family, key) for key in keys} | explicit))


def _normalize_input(model: onnx.ModelProto, settings: ModelTable) -> tuple[onnx.ModelProto, float, float]:
    """The model for RGB pixels, and the one mean and standard deviation that the runtime applies before it."""
    mean, std = np.array(expand_per_channel(settings.mean)), np.array(expand_per_channel(settings.std))
    folded = fold_normalization(model, mean, std, settings.order == "bgr")
    return prepend_normalization(model, settings) if folded is None else folded


def _resize_input(model: onnx.ModelProto, size: tuple[int, int] | None, source: str) -> onnx.ModelProto:
    """The canonical graph of `model` for an input of `size` (height, width); None keeps its size."""
    images = list_inputs(model.graph)
    shape = read_shape(images[0]) if images else ()
    sides: tuple[int, ...] = shape[2:] if len(shape) == 4 else ()
    if size is None or sides == size or 0 in sides:
        return canonicalize_graph(model, size, source)
    scaled = scale_fixed_sizes(canonicalize_graph(model, None, source), (sides[0], sides[1]), size)
    resized = copy_model(model) if scaled is None else scaled
    for dim, value in zip(list_inputs(resized.graph)[0].type.tensor_type.shape.dim[2:], size, strict=True):
        dim.dim_value = value
    try:
        return canonicalize_graph(resized, size, source)
    except ConfigProblem as problem:
        hint = f"leave model.input out, or export the network for {size[0]} pixels"
        message = f"{source}: it contains fixed sizes for {sides[1]} x {sides[0]} pixels: {problem.message}"
        raise ConfigProblem(message, hint=hint) from None


def _output_shapes(model: onnx.ModelProto, role: str) -> list[tuple[int, ...]]:
    """Shapes of the outputs of one role, by pyramid level."""
    shapes = {value.name: read_shape(value) for value in model.graph.output}
    return [shapes[name] for name in (f"{role}{level}" for level in range(len(shapes))) if name in shapes]


def _count_classes(model: onnx.ModelProto, boxes: BoxDecoding) -> int:
    """Number of class channels per box."""
    shapes = _output_shapes(model, "class")
    boxes_per_cell = [len(level) for level in boxes.anchors] or [1] * len(shapes)
    return shapes[0][1] // boxes_per_cell[0]


def _compute_anchors(
    model: onnx.ModelProto, file_anchors: NDArray[np.float32] | None, source: str
) -> tuple[tuple[tuple[float, float], ...], ...]:
    """Height and width of each anchor, by pyramid level, as fractions of the input.

    Args:
        model: outputs named, shapes known
        file_anchors: n x 4 (y, x, height, width) from a TFLite file; None: the anchors of TensorFlow's SSD for 300
            pixels, by `ssd_anchor_generator` of the Object Detection API: scales from 0.2 to 0.95, aspect ratios 1, 2,
            1/2, 3, 1/3, and 1 again at the geometric mean of two scales; the first level has three anchors
        source: name of the model in messages

    Raises:
        ConfigProblem: the numbers of anchors and boxes differ
    """
    shapes = _output_shapes(model, "box")
    counts = [shape[1] // 4 for shape in shapes]
    if file_anchors is None:
        scales = [*np.linspace(0.2, 0.95, len(shapes)), 1.0]
        anchors = []
        for level, count in enumerate(counts):
            pairs = [(scales[level], ratio) for ratio in (1.0, 2.0, 0.5, 3.0, 1 / 3)]
            pairs.append(((scales[level] * scales[level + 1]) ** 0.5, 1.0))
            if level == 0 and count == 3:
                pairs = [(0.1, 1.0), (scales[0], 2.0), (scales[0], 0.5)]
            anchors.append(tuple((float(s / a**0.5), float(s * a**0.5)) for s, a in pairs))
    else:
        boxes_per_level = [shape[2] * shape[3] * count for shape, count in zip(shapes, counts, strict=True)]
        if sum(boxes_per_level) != len(file_anchors):
            hint = "leave model.input out: an SSD keeps the input size of its anchors"
            message = f"{source}: {len(file_anchors)} anchors for {sum(boxes_per_level)} boxes"
            raise ConfigProblem(message, hint=hint)
        parts = np.split(file_anchors[:, 2:], np.cumsum(boxes_per_level)[:-1])
        anchors = [
            tuple((float(h), float(w)) for h, w in np.median(part.reshape(-1, count, 2), axis=0))
            for part, count in zip(parts, counts, strict=True)
        ]
    if [len(level) for level in anchors] != counts:
        message = f"{source}: {counts} boxes per cell do not match the anchors of a known SSD"
        raise ConfigProblem(message, hint="import the TFLite file of the network: it holds the anchors")
    return tuple(anchors)


def _read_labels(goal_folder: Path, settings: ModelTable, class_count: int) -> tuple[tuple[str, ...], list[int]]:
    """The labels, and the class channels without a label."""
    if settings.labels is None:
        if settings.family == "ssd" and class_count in (90, 91):
            used = [category - (91 - class_count) for category in COCO_CATEGORY_IDS]
            return COCO_LABELS, [channel for channel in range(class_count) if channel not in used]
        if class_count == len(COCO_LABELS):
            return COCO_LABELS, []
        return tuple(f"class {number}" for number in range(class_count)), []
    file = goal_folder / settings.labels
    names = [line.strip() for line in file.read_text(encoding="utf-8-sig", errors="replace").splitlines()]
    while names and not names[-1]:
        names.pop()
    if len(names) != class_count and settings.family == "ssd" and len(names) == class_count - 1:
        names.insert(0, "background")
    unused = [channel for channel, name in enumerate(names) if name.lower() in _UNUSED_LABELS]
    labels = tuple(name for channel, name in enumerate(names) if channel not in unused)
    if len(names) != class_count or len(set(labels)) < len(labels) or not labels:
        hint = "write one name per class and line, in the order of the network's channels"
        raise ConfigProblem(f"model.labels: {file}: {len(set(names))} names for {class_count} classes", hint=hint)
    return labels, unused


def _remove_class_channels(model: onnx.ModelProto, boxes: BoxDecoding, unused_channels: list[int]) -> None:
    """Remove unused channels from the convolutions that compute the class scores."""
    initializers, producers = map_initializers(model.graph), map_producers(model.graph)
    for output in model.graph.output:
        if not output.name.startswith("class"):
            continue
        level = int(output.name.removeprefix("class"))
        boxes_per_cell = len(boxes.anchors[level]) if boxes.anchors else 1
        for name in producers[output.name].input[1:]:
            values = numpy_helper.to_array(initializers[name])
            by_box = values.reshape(boxes_per_cell, -1, *values.shape[1:])
            used = np.delete(by_box, unused_channels, axis=1)
            values = np.ascontiguousarray(used.reshape(-1, *values.shape[1:]))
            replace_initializer(initializers[name], values)
        output.type.tensor_type.shape.dim[1].dim_value = len(values)
