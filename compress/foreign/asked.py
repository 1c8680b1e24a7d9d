"""What a goal file says of a network of the user's own, checked before anything is read or run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vedette.runtime.problem import ConfigProblem

_SETTINGS = ("labels", "mean", "std", "order", "licence")
_OURS = ("detector", "blocks", "epochs")


def check(path: Path, goal: Any) -> None:
    """That `[model]` of the `Goal` in the file `path` speaks of a network of one's own throughout, or of ours.

    Raises:
        ConfigProblem: it does not, or a file that it names is missing.
    """
    model, plain, data = goal.model, type(goal.model)(), goal.data
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
    for key, name in (("onnx", model.onnx), ("torch", torch_file), ("labels", model.labels)):
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
