"""Draw: the zones, lines and privacy masks of a camera, changed on its picture and asked for as a new file."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from ..config.configuration import Config
from ..errors import UNREADABLE, ConfigProblem, MachineProblem, Problem
from ..installation.camera_bundle import last_good_file
from ..installation.configuration.change_requests import is_waiting, read_result, request_change
from ..installation.configuration.permitted_changes import check_permitted, read_text
from .camera_text import change_text
from .change_views import diff_lines
from .draft_check import check_draft
from .draw_words import draw_texts
from .drawn_shapes import REQUIRED, DrawnRule, Shape, Shapes, apply_shapes, list_rules, read_shapes
from .page_context import context_of, render, translation_of

_OF_PAGE = "page"
"""Who asks: the page has one user."""


class Drawing(msgspec.Struct, frozen=True):
    """What a camera's file has that can be drawn."""

    digest: str
    """SHA-256 of the file, so that a change that was made elsewhere is not lost."""
    shapes: list[Shape]
    rules: list[DrawnRule]
    has_before: bool
    """Whether there is a file from before to go back to."""


class Draft(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the page sends: the shapes as they should be, or the wish to go back to the file from before."""

    digest: str
    shapes: Shapes = []
    undo: bool = False


class _Changed(Exception):
    """The file is not the one that was drawn on."""


def read_drawing(path: Path) -> Drawing:
    """What can be drawn of a camera's file.

    Raises:
        Problem: it cannot be read, or has a wrong shape.
    """
    text = _read(path)
    content = read_text(text, path.name)
    before = last_good_file(path)
    has_before = before.exists() and before.read_bytes() != path.read_bytes()
    return Drawing(_digest(text), read_shapes(content), list_rules(content), has_before)


def draft_text(path: Path, draft: Draft) -> tuple[str, str]:
    """The present text of a camera's file, and the one that a draft asks for.

    Raises:
        Problem: the draft fits no rule, or changes what a request may not change.
    """
    present = _read(path)
    if _digest(present) != draft.digest:
        raise _Changed
    content = read_text(present, path.name)
    if draft.undo:
        text = _read(last_good_file(path))
    else:
        used = {(shape.rule, shape.key) for shape in draft.shapes}
        removed = {
            number
            for number, table in enumerate(content.get("rules", []))
            if (keys := REQUIRED.get(str(table.get("use")))) and not any((number, key) in used for key in keys)
        }
        text = change_text(present, apply_shapes(content, draft.shapes), removed)
    check_permitted(content, read_text(text, path.name), "the draft")
    return present, text


def compare(present: str, text: str) -> list[str]:
    """The lines of a unified diff, without its header. Logins are taken out."""
    return [f"{line.sign}{line.text}" for line in diff_lines(present, text)]


async def show_draw(request: Request) -> Response:
    """The view of one camera; without a name the first camera's."""
    names = context_of(request).cameras()
    if "camera" not in request.path_params:
        return RedirectResponse(f"/draw/{names[0]}", 303) if names else render(request, "no_camera.html")
    config = await _config_of(request)
    drawing = await asyncio.to_thread(read_drawing, config.camera_file)
    texts = draw_texts(translation_of(request))
    values = {"drawing": msgspec.to_builtins(drawing), "texts": texts}
    return render(request, "draw.html", camera=config.camera, values=values)


async def send_drawing(request: Request) -> Response:
    """What the camera's file has now."""
    config = await _config_of(request)
    drawing = await asyncio.to_thread(read_drawing, config.camera_file)
    return JSONResponse(msgspec.to_builtins(drawing))


async def preview_draft(request: Request) -> Response:
    """What would change in the file, and what the daemon would say against it."""
    return await asyncio.to_thread(_answer, request, await _config_of(request), await request.body(), False)


async def save_draft(request: Request) -> Response:
    """Asks for the new file; answers with the ID of the request."""
    return await asyncio.to_thread(_answer, request, await _config_of(request), await request.body(), True)


async def send_result(request: Request) -> Response:
    """What became of a request."""
    config, identity = await _config_of(request), request.path_params["id"]
    result = await asyncio.to_thread(read_result, config.state, identity)
    if result is not None and result.camera in (config.camera, ""):
        return JSONResponse({"outcome": result.outcome, "reason": result.reason})
    return JSONResponse({"outcome": "waiting" if is_waiting(config.state, identity) else "", "reason": ""})


async def _config_of(request: Request) -> Config:
    config = await asyncio.to_thread(context_of(request).load_camera, request.path_params["camera"])
    if config is None:
        raise HTTPException(404)
    return config


def _answer(request: Request, config: Config, body: bytes, is_to_be_saved: bool) -> Response:
    context, _ = context_of(request), translation_of(request)
    values: dict[str, Any]
    try:
        draft = msgspec.json.decode(body, type=Draft)
        present, text = draft_text(config.camera_file, draft)
        problem = check_draft(context.folder, config.camera, text) if text != present else ""
        if not is_to_be_saved:
            return JSONResponse({"diff": compare(present, text), "problem": problem})
        if problem:
            raise ConfigProblem(problem)
        values = {"id": request_change(config.state, config.camera, text, "page", _OF_PAGE, folder=context.folder)}
    except UNREADABLE:
        return JSONResponse({"message": _("That is no drawing.")}, 400)
    except _Changed:
        return JSONResponse({"message": _("The file was changed elsewhere. Load the page again.")}, 409)
    except Problem as error:
        message = f"{error.message}. {error.hint}" if error.hint else error.message
        return JSONResponse({"message": message}, 503 if isinstance(error, MachineProblem) else 400)
    return JSONResponse(values)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise MachineProblem(f"{path}: {error}") from None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
