"""The report: the goal and its verdict first, then the figures, then pictures to judge by. One file, no network."""

from __future__ import annotations

import base64
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import jinja2
import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.runtime.bundle.manifest import Manifest
from vedette.runtime.camera import image_files

from ..cost import predicted_cost
from ..goal.goal_file import FIGURES
from .verdict import Verdict

if TYPE_CHECKING:  # it loads what is heavy, and a wrong goal file is told before that
    from .evidence import Findings

SIDE = 200  # pixels of a sample picture


MODELS = {"fp32": "float ONNX", "int8_onnx": "int8 ONNX", "int8_tflite": "int8 TFLite"}


def html(manifest: Manifest, verdict: Verdict, findings: Findings, evidence: dict[str, Any]) -> bytes:
    """`report.html`, self-contained; `evidence` fills the task's own part of it."""
    template = _templates().get_template(f"{evidence.get('page', manifest.task)}.html")
    facts = {
        "manifest": manifest,
        "verdict": verdict,
        "measured": manifest.measured,
        "models": MODELS,
        "figure": FIGURES[manifest.task],
        "there": predicted_cost.read(manifest.measured),
        **{field: getattr(findings, field) for field in findings.__struct_fields__},
    }
    return template.render(**(facts | evidence)).encode()


def facts(
    manifest: Manifest, findings: Findings, parts: dict[str, list[Path]], audit: dict[str, Any], base: Path
) -> bytes:
    """`report.json`: the same for programs, and which image was used for what."""
    used = {part: [_below(path, base) for path in paths] for part, paths in parts.items()}
    content = {
        "name": manifest.name,
        "release": manifest.release,
        "device": manifest.device,
        "goal": manifest.goal,
        "goal_met": manifest.goal_met,
        "missed": manifest.missed,
        "unproven": manifest.unproven,
        "threshold": manifest.threshold,
        **manifest.measured,
        "stages": findings.stages,
        "steps": findings.steps,
        "noise": findings.noise,
        "disagreement": findings.apart.facts(lambda path: _below(path, base)),
        "tools": manifest.tools,
        "split": used,
        "audit": audit,
    }
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"


def _below(path: Path, base: Path) -> str:
    """The path as the goal file would say it: no folder of this machine goes out."""
    return path.relative_to(base).as_posix() if path.is_relative_to(base) else f"{path.parent.name}/{path.name}"


def sample(path: Path) -> NDArray[Any]:
    """The picture at `path`, `SIDE` x `SIDE` x 3, blue-green-red."""
    return np.asarray(cv2.resize(image_files.read(path), (SIDE, SIDE), interpolation=cv2.INTER_AREA))


def embed(image: NDArray[Any]) -> str:
    """A picture, H x W x 3, blue-green-red, as a data URL."""
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


@cache
def _templates() -> jinja2.Environment:
    """The page and the tasks' own parts of it, found by their place below this folder."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (files(__package__) / "templates" / name).read_text()),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["thousands"] = lambda number: f"{number:,}".replace(",", "\u202f")
    return environment
