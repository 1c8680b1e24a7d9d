"""Checks of the goal tables of an imported network. They run before any model file is read or run."""

from __future__ import annotations

from pathlib import Path

from vedette.runtime.errors import ConfigProblem

from .goal_tables import Goal, ModelTable
from .recipe import ALIASES

_IMPORTED_KEYS = ("labels", "mean", "std", "order", "licence")
_BUILT_IN_KEYS = ("detector", "blocks", "epochs")


def check_model_keys(path: Path, goal: Goal) -> None:
    """Checks that all keys of `[model]` belong to an imported network, or all to a built-in one.

    Args:
        path: the goal file, for messages and as the base of relative paths
        goal: its content

    Raises:
        ConfigProblem: the keys are mixed, or a named file is missing.
    """
    model, defaults, data = goal.model, ModelTable(), goal.data
    if goal.task == "detect":
        _check_object_detector(path, goal, defaults)
        return
    if goal.task == "embed" and not model.is_imported:
        hint = 'say model.onnx = "FILE.onnx", or model.torch = "module:function" or "FILE.pt"'
        raise ConfigProblem(f'{path}: task = "embed" has no built-in model', hint=hint)
    if not model.is_imported:
        given = [key for key in _IMPORTED_KEYS if getattr(model, key) != getattr(defaults, key)]
        if given or data.images is not None:
            key = f"model.{given[0]}" if given else "data.images"
            hint = "it belongs to an imported model: model.onnx or model.torch"
            raise ConfigProblem(f"{path}: {key} does not apply without model.onnx or model.torch", hint=hint)
        return
    _check_model(path, goal, defaults)
    if goal.task == "embed" or data.classes is None:
        given = [key for key in ("good", "defect", "classes") if getattr(data, key)]
        if given:
            hint = "name the folder of images as data.images" + ("" if goal.task == "embed" else ", or data.classes")
            raise ConfigProblem(f"{path}: data.{given[0]} does not apply to an imported model here", hint=hint)
        if data.images is None:
            hint = "name a folder of images like those that the model will see: at least tens, better a hundred"
            raise ConfigProblem(f"{path}: data.images is missing", hint=hint)
    elif data.images is not None:
        hint = "either images, without labels, or classes, with one subfolder for each class"
        raise ConfigProblem(f"{path}: data.images and data.classes exclude each other", hint=hint)


def _check_object_detector(path: Path, goal: Goal, defaults: ModelTable) -> None:
    model, data = goal.model, goal.data
    given = [key for key in ("onnx", "torch", "tflite") if getattr(model, key)]
    hint = 'say model.onnx = "FILE.onnx", or model.tflite = "FILE.tflite" for an SSD'
    if not given or "torch" in given:
        why = "takes no PyTorch module" if given else "has no built-in model"
        raise ConfigProblem(f'{path}: task = "detect" {why}', hint=hint + "; export a module to ONNX first")
    if len(given) > 1:
        raise ConfigProblem(f"{path}: model.onnx and model.tflite exclude each other", hint="keep one of them")
    if model.family is None:
        known = "yolox, nanodet, nanodet-plus, picodet, rtmdet, fastestdet, ssd, yolov8, and generic with [model.boxes]"
        raise ConfigProblem(
            f"{path}: model.family is missing", hint=f"it tells how outputs are decoded to boxes; known are {known}"
        )
    _check_boxes(path, model)
    if model.tflite and model.family != "ssd":
        hint = "only the weights of an SSD can be read from a TFLite file: use an ONNX file of this family"
        raise ConfigProblem(f'{path}: model.tflite is no {model.family}: it belongs to family = "ssd"', hint=hint)
    unused = [key for key in ("good", "defect", "classes") if getattr(data, key)]
    if unused:
        hint = "an object detector takes images and labels"
        raise ConfigProblem(f'{path}: data.{unused[0]} does not apply to task = "detect"', hint=hint)
    for key, what in (("images", "a folder of images"), ("labels", "a folder of YOLO files, or a COCO file")):
        if getattr(data, key) is None:
            raise ConfigProblem(f"{path}: data.{key} is missing", hint=f"name {what}")
    assert data.labels is not None  # checked above
    if not (path.parent / data.labels).exists():
        hint = "paths are relative to the goal file"
        raise ConfigProblem(f"{path}: data.labels: nothing at {path.parent / data.labels}", hint=hint)
    uses = [table.get("use") for table in goal.recipe]
    others = [use for use in uses if ALIASES.get(str(use), use) not in ("quantise", "search", "train", "distil")]
    if others:
        hint = 'an object detector takes use = "train", "quantise", "search" and "distil"'
        raise ConfigProblem(f'{path}: recipe: {others[0]} does not apply to task = "detect"', hint=hint)
    _check_model(path, goal, defaults)


def _check_boxes(path: Path, model: ModelTable) -> None:
    boxes = model.boxes
    if (boxes is None) == (model.family == "generic"):
        hint = "docs/goal.md lists its keys" if boxes is None else 'it belongs to family = "generic"'
        what = "is missing" if boxes is None else f"does not apply to {model.family}"
        raise ConfigProblem(f"{path}: [model.boxes] {what}", hint=hint)
    if boxes is None:
        return
    if len(set(boxes.outputs)) < len(boxes.outputs) or not {"box", "class"} <= set(boxes.outputs):
        hint = 'for example ["class", "box"], or ["box", "objectness", "class"]'
        raise ConfigProblem(f"{path}: model.boxes.outputs does not name box and class once each", hint=hint)
    for key, value, default in (("activation", boxes.activation, "none"), ("unit", boxes.unit, "cells")):
        if value != default and boxes.form != "distances":
            hint = 'leave it out, or set form = "distances"'
            raise ConfigProblem(f"{path}: model.boxes.{key} does not apply to {boxes.form}", hint=hint)


def _check_model(path: Path, goal: Goal, defaults: ModelTable) -> None:
    model, base = goal.model, path.parent
    if goal.task in ("anomaly", "behaviour"):
        hint = 'task = "classify" and task = "embed" take one'
        raise ConfigProblem(f'{path}: task = "{goal.task}" takes no imported model', hint=hint)
    if model.onnx and model.torch:
        raise ConfigProblem(f"{path}: model.onnx and model.torch exclude each other", hint="keep one of them")
    built_in = [key for key in _BUILT_IN_KEYS if getattr(model, key) != getattr(defaults, key)]
    if built_in or goal.augment is not None:
        what = f"model.{built_in[0]}" if built_in else "[augment]"
        hint = "an imported model is not fitted: leave it out"
        raise ConfigProblem(f"{path}: {what} does not apply to an imported model", hint=hint)
    torch_file = model.torch if model.torch and ":" not in model.torch else None
    files = ("onnx", model.onnx), ("tflite", model.tflite), ("torch", torch_file), ("labels", model.labels)
    for key, name in files:
        if name and not (base / name).is_file():
            hint = "paths are relative to the goal file; a PyTorch module is module:function"
            raise ConfigProblem(f"{path}: model.{key}: no file {base / name}", hint=hint)
    if goal.task == "embed" and model.labels:
        hint = 'leave it out, or set task = "classify"'
        raise ConfigProblem(f'{path}: model.labels does not apply to task = "embed"', hint=hint)
    mean, std = expand_per_channel(model.mean), expand_per_channel(model.std)
    if min(std) < 1:
        hint = "mean and std are for pixels of 0 to 255: multiply values for 0 to 1 by 255, as in mean = 123.675"
        raise ConfigProblem(f"{path}: model.std is below 1", hint=hint)
    if min(mean) < 0 or max(mean) > 255:
        raise ConfigProblem(f"{path}: model.mean is not a pixel value of 0 to 255", hint="see docs/goal.md")


def expand_per_channel(values: float | tuple[float, float, float]) -> tuple[float, float, float]:
    """Returns one value per channel. It repeats a single number for all channels."""
    return values if isinstance(values, tuple) else (values, values, values)
