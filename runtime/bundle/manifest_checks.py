"""Checks that the values of a manifest make sense, alone and beside the members of the bundle.

A signature says who wrote a manifest, not that it is right. A value that no build writes would otherwise show itself
late: as a wrong score, or as an error of a library in the middle of the start.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import isfinite, prod

from ..errors import BundleProblem
from .box_decoding import BoxDecoding
from .compiled_model import TARGETS
from .manifest import ONNX, TFLITE, Inspection, Manifest, ModelInput
from .npy_header import read_npy_shape

MAX_RELEASE = (1 << 53) - 1
MAX_SIDE = 8192  # pixels of the model's input
MAX_VALUES = 1 << 26  # of one output
MAX_NUMBER = 1e9  # of a scale, threshold and so on
MAX_GOLDEN = 1000  # images
MAX_PICTURES, MAX_PICTURE_BYTES = 32, 1 << 16
MAX_TEXT = 200  # characters of a label or a name
MAX_SPACING, MAX_WINDOW = 60, 3600  # seconds between the frames of a difference, and of the window over outputs
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}")
_TASKS = ("anomaly", "behaviour", "classify", "detect", "embed")
_LABELLED = ("anomaly", "behaviour", "classify", "detect")
_OUTPUTS = {"anomaly": {"map", "score"}, "classify": {"scores"}, "embed": {"vector"}}
FLOAT_OUTPUT_SUFFIX = "-float"  # suffix of the golden outputs of a model that computes in float


def check_manifest(manifest: Manifest, members: dict[str, bytes]) -> None:
    """Checks a manifest whose signature was verified, and the golden members.

    Args:
        manifest: of the bundle
        members: all members that the manifest lists, by name

    Raises:
        BundleProblem: a value makes no sense, or a member is missing or does not fit; all of them in one message.
    """
    faults = list(_value_faults(manifest))
    faults = faults or list(_member_faults(manifest, members))
    if faults:
        more = f", and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise BundleProblem(f"manifest.json: {'; '.join(faults[:3])}{more}", hint="build the bundle again")


def _value_faults(manifest: Manifest) -> Iterator[str]:
    if not _NAME.fullmatch(manifest.name):
        yield f"name {manifest.name[:60]!r} is not a plain word"
    if not 1 <= manifest.release <= MAX_RELEASE:
        yield f"release {manifest.release} is not 1 or more"
    if manifest.downgrade_from is not None and not 1 <= manifest.downgrade_from <= MAX_RELEASE:
        yield f"downgrade_from {manifest.downgrade_from} is not 1 or more"
    if manifest.task not in _TASKS:
        yield f"task {manifest.task[:60]!r} is none of {', '.join(_TASKS)}"
    yield from _text_faults(manifest)
    yield from _input_faults(manifest.input)
    if not manifest.outputs or not _OUTPUTS.get(manifest.task, set()) <= {output.name for output in manifest.outputs}:
        yield f"outputs of a model for {manifest.task[:60]} are missing"
    for output in manifest.outputs:
        if not _is_positive(output.scale) or not 0 <= output.zero_point <= 255:
            yield f"scale {output.scale} and zero point {output.zero_point} of output {output.name[:60]!r}"
        if len(output.shape) > 8 or any(side < 1 for side in output.shape) or prod(output.shape) > MAX_VALUES:
            yield f"shape {output.shape[:10]} of output {output.name[:60]!r}"
    yield from _threshold_faults(manifest)
    yield from _motion_faults(manifest)
    if manifest.inspect is not None:
        yield from _inspection_faults(manifest.inspect, set(manifest.files))
    yield from _picture_faults(manifest)
    if ONNX not in manifest.models or not set(manifest.models) <= {ONNX, TFLITE}:
        yield f"models are not {ONNX} and {TFLITE}"
    if not set(manifest.compiled) <= set(TARGETS):
        yield f"compiled is for none of {', '.join(TARGETS)}"
    files = [*manifest.models.values(), *(each.file for each in manifest.compiled.values())]
    yield from (f"{name} is no member" for name in files if name not in manifest.files)


def _text_faults(manifest: Manifest) -> Iterator[str]:
    outputs = [output.name for output in manifest.outputs]
    compilers = [text for each in manifest.compiled.values() for text in (each.target, each.tool)]
    for text in (*manifest.labels, *manifest.normal, manifest.input.name, *outputs, *compilers):
        if not text or len(text) > MAX_TEXT or not text.isprintable():
            yield f"{text[:60]!r} is not a plain name"
    if manifest.task in _LABELLED and not manifest.labels:
        yield "labels are empty"
    for names in (manifest.labels, outputs):
        if len(set(names)) != len(names):
            yield "a label or an output is named twice"


def _input_faults(spec: ModelInput) -> Iterator[str]:
    if not 1 <= spec.width <= MAX_SIDE or not 1 <= spec.height <= MAX_SIDE:
        yield f"an input of {spec.width} x {spec.height} pixels"
    if not isfinite(spec.mean) or abs(spec.mean) > MAX_NUMBER:
        yield f"input.mean {spec.mean}"
    for key in ("std", "scale"):
        if not _is_positive(getattr(spec, key)):
            yield f"input.{key} {getattr(spec, key)} is not positive"
    if not 0 <= spec.zero_point <= 255:
        yield f"input.zero_point {spec.zero_point} is not between 0 and 255"


def _threshold_faults(manifest: Manifest) -> Iterator[str]:
    threshold = manifest.threshold
    positive = manifest.task in ("anomaly", "behaviour", "detect") and manifest.temperature is None
    if not isfinite(threshold) or abs(threshold) > MAX_NUMBER or threshold < 0 or (positive and threshold == 0):
        yield f"threshold {threshold} is not positive and finite"
    if manifest.temperature is not None and not _is_positive(manifest.temperature):
        yield f"temperature {manifest.temperature} is not positive"
    if manifest.recalibrated is not None and not isfinite(manifest.recalibrated.offset):
        yield "recalibrated.offset is not finite"
    if manifest.task == "detect":
        if manifest.boxes is None:
            yield "boxes are missing"
        elif not 0 < manifest.boxes.iou <= 1:
            yield f"boxes.iou {manifest.boxes.iou} is not between 0 and 1"
        else:
            yield from _grid_faults(manifest, manifest.boxes)


def _grid_faults(manifest: Manifest, boxes: BoxDecoding) -> Iterator[str]:
    grid = boxes.grid
    if (grid is None) == (boxes.family == "grid"):
        yield "boxes.grid is missing" if grid is None else f"boxes.grid does not belong to {boxes.family}"
    if grid is not None:
        if not 0 <= grid.point <= 1:
            yield f"boxes.grid.point {grid.point} is not between 0 and 1"
        levels = sum(output.name.startswith("box") for output in manifest.outputs)
        if grid.strides and (len(grid.strides) != levels or min(grid.strides) < 1):
            yield f"boxes.grid.strides has not {levels} positive numbers, one for each level"


def _motion_faults(manifest: Manifest) -> Iterator[str]:
    motion = manifest.motion
    if motion is None:
        if manifest.task == "behaviour":
            yield "motion is missing"
    elif not all(map(_is_positive, (motion.spacing, motion.gain, motion.window))):
        yield "motion: spacing, gain and window are not all positive"
    elif motion.spacing > MAX_SPACING or motion.window > MAX_WINDOW:
        yield f"motion: frames are more than {MAX_SPACING} s apart, or the window is longer than {MAX_WINDOW} s"


def _inspection_faults(inspect: Inspection, members: set[str]) -> Iterator[str]:
    if any(not 0 <= each <= 1 for point in inspect.region for each in point) or len(inspect.region) in (1, 2):
        yield "inspect.region is no polygon inside the frame"
    if (alignment := inspect.alignment) is None:
        return
    limits = (alignment.shift, 1.0), (alignment.angle, 180.0), (alignment.scale, 1.0), (alignment.correlation, 1.0)
    if any(not 0 <= value <= limit for value, limit in limits):
        yield "inspect.alignment: a limit makes no sense"
    if alignment.reference not in members:
        yield "inspect.alignment: the reference image is missing"


def _picture_faults(manifest: Manifest) -> Iterator[str]:
    if len(manifest.pictures) > MAX_PICTURES:
        yield f"{len(manifest.pictures)} pictures"
    for name in manifest.pictures[:MAX_PICTURES]:
        if name not in manifest.files:
            yield f"the picture {name[:60]!r} is no member"
        elif manifest.files[name].bytes > MAX_PICTURE_BYTES:
            yield f"the picture {name[:60]!r} has {manifest.files[name].bytes} bytes"


def _member_faults(manifest: Manifest, members: dict[str, bytes]) -> Iterator[str]:
    """Golden inputs and outputs are there, for each model, and as many and as large as the manifest says."""
    spec = manifest.input
    images = read_npy_shape(members.get("golden/image.npy", b""))
    if images is None or len(images) != 4 or images[1:] != (spec.height, spec.width, 3):
        yield f"golden/image.npy is missing or does not hold images of {spec.width} x {spec.height} pixels"
        return
    if not 1 <= images[0] <= MAX_GOLDEN:
        yield f"{images[0]} golden images"
        return
    suffixes = {FLOAT_OUTPUT_SUFFIX if name in manifest.floats else "" for name in manifest.models}
    for name in (f"{output.name}{suffix}" for output in manifest.outputs for suffix in sorted(suffixes)):
        output = manifest.output(name.removesuffix(FLOAT_OUTPUT_SUFFIX))
        shape = read_npy_shape(members.get(f"golden/{name}.npy", b""))
        if shape is None or shape[:1] != images[:1] or prod(shape[1:]) != prod(output.shape):
            yield f"golden/{name}.npy is missing or does not fit the output"


def _is_positive(number: float) -> bool:
    return isfinite(number) and 0 < number <= MAX_NUMBER
