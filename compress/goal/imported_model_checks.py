"""What a goal file says of a network of the user's own, checked before anything is read or run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vedette.runtime.errors import ConfigProblem

_SETTINGS = ("labels", "mean", "std", "order", "licence")
_OURS = ("detector", "blocks", "epochs")


def check(path: Path, goal: Any) -> None:
    """That `[model]` of the `Goal` in the file `path` speaks of a network of one's own throughout, or of ours.

    Raises:
        ConfigProblem: it does not, or a file that it names is missing.
    """
    model, plain, data = goal.model, type(goal.model)(), goal.data
    if goal.task == "detect":
        _check_detector(path, goal, plain)
        return
    if goal.task == "embed" and not model.own:
        hint = 'say model.onnx = "FILE.onnx", or model.torch = "module:function" or "FILE.pt"'
        raise ConfigProblem(f'{path}: task = "embed" has no network of Vedette\'s own', hint=hint)
    if not model.own:
        said = [key for key in _SETTINGS if getattr(model, key) != getattr(plain, key)]
        if said or data.images is not None:
            key = f"model.{said[0]}" if said else "data.images"
            hint = "it belongs to a network of your own: model.onnx or model.torch"
            raise ConfigProblem(f"{path}: {key} means nothing without model.onnx or model.torch", hint=hint)
        return
    _check_model(path, goal, plain)
    if goal.task == "embed" or data.classes is None:
        said = [key for key in ("good", "defect", "classes") if getattr(data, key)]
        if said:
            hint = "name the folder of images as data.images" + ("" if goal.task == "embed" else ", or data.classes")
            raise ConfigProblem(f"{path}: data.{said[0]} means nothing to a network of your own here", hint=hint)
        if data.images is None:
            hint = "name a folder of pictures as the network will see them; it needs tens, better a hundred"
            raise ConfigProblem(f"{path}: data.images is missing", hint=hint)
    elif data.images is not None:
        hint = "either images, without labels, or classes, one sub-folder for each"
        raise ConfigProblem(f"{path}: data.images and data.classes exclude each other", hint=hint)


def _check_detector(path: Path, goal: Any, plain: Any) -> None:
    model, data = goal.model, goal.data
    given = [key for key in ("onnx", "torch", "tflite") if getattr(model, key)]
    hint = 'say model.onnx = "FILE.onnx", or model.tflite = "FILE.tflite" for an SSD'
    if not given or "torch" in given:
        why = "takes no module" if given else "has no network of Vedette's own"
        raise ConfigProblem(f'{path}: task = "detect" {why}', hint=hint + "; export a module to ONNX first")
    if len(given) > 1:
        raise ConfigProblem(f"{path}: model.onnx and model.tflite exclude each other", hint="keep one of them")
    if model.family is None:
        known = "yolox, nanodet, fastestdet, ssd and yolov8"
        raise ConfigProblem(f"{path}: model.family is missing", hint=f"how are its boxes read? Known are {known}")
    if model.tflite and model.family != "ssd":
        hint = "a TFLite file is read for its weights, and only those of SSD are known: bring the family's ONNX"
        raise ConfigProblem(f'{path}: model.tflite is no {model.family}: it belongs to family = "ssd"', hint=hint)
    said = [key for key in ("good", "defect", "classes") if getattr(data, key)]
    if said:
        hint = "a detector takes images and labels"
        raise ConfigProblem(f'{path}: data.{said[0]} means nothing to task = "detect"', hint=hint)
    for key, what in (("images", "a folder of images"), ("labels", "a folder of YOLO files, or a COCO file")):
        if getattr(data, key) is None:
            raise ConfigProblem(f"{path}: data.{key} is missing", hint=f"name {what}")
    if not (path.parent / data.labels).exists():
        hint = "paths are relative to the goal file"
        raise ConfigProblem(f"{path}: data.labels: nothing at {path.parent / data.labels}", hint=hint)
    others = [table.get("use") for table in goal.recipe if table.get("use") not in ("quantise", "search")]
    if others:
        hint = 'use = "quantise" and use = "search" are what a detector takes'
        raise ConfigProblem(f'{path}: recipe: {others[0]} means nothing to task = "detect"', hint=hint)
    _check_model(path, goal, plain)


def _check_model(path: Path, goal: Any, plain: Any) -> None:
    model, base = goal.model, path.parent
    if goal.task in ("anomaly", "behaviour"):
        hint = 'task = "classify" and task = "embed" take one'
        raise ConfigProblem(f'{path}: task = "{goal.task}" takes no network of your own', hint=hint)
    if model.onnx and model.torch:
        raise ConfigProblem(f"{path}: model.onnx and model.torch exclude each other", hint="keep one of them")
    ours = [key for key in _OURS if getattr(model, key) != getattr(plain, key)]
    if ours or goal.augment is not None:
        what = f"model.{ours[0]}" if ours else "[augment]"
        hint = "a network of your own is not fitted here: leave it out"
        raise ConfigProblem(f"{path}: {what} means nothing to a network of your own", hint=hint)
    torch_file = model.torch if model.torch and ":" not in model.torch else None
    files = ("onnx", model.onnx), ("tflite", model.tflite), ("torch", torch_file), ("labels", model.labels)
    for key, name in files:
        if name and not (base / name).is_file():
            hint = "paths are relative to the goal file; a PyTorch module is module:function"
            raise ConfigProblem(f"{path}: model.{key}: no file {base / name}", hint=hint)
    if goal.task == "embed" and model.labels:
        hint = "leave it out, or ask for classify"
        raise ConfigProblem(f'{path}: model.labels means nothing to task = "embed"', hint=hint)
    mean, std = triple(model.mean), triple(model.std)
    if min(std) < 1:
        hint = "they are of pixels from 0 to 255: multiply what is meant for 0 to 1 by 255, as in mean = 123.675"
        raise ConfigProblem(f"{path}: model.std is below 1", hint=hint)
    if min(mean) < 0 or max(mean) > 255:
        raise ConfigProblem(f"{path}: model.mean is no pixel from 0 to 255", hint="see docs/goal.md")


def triple(values: float | tuple[float, float, float]) -> tuple[float, float, float]:
    """One number for each channel."""
    return values if isinstance(values, tuple) else (values, values, values)
