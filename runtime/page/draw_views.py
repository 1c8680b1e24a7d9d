"""Draw: the zones, lines and privacy masks of a camera, changed on its picture and asked for as a new file."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from ..config.configuration import Config
from ..errors import Problem
from ..installation.configuration.permitted_changes import check_permitted, read_text
from .camera_text import change_text
from .change_views import answer_change, changed_elsewhere, describe_problem, digest_of, read_camera_text
from .change_words import describe_undo
from .draw_words import draw_texts
from .drawn_shapes import REQUIRED, DrawnRule, Shape, Shapes, apply_shapes, list_rules, read_shapes
from .page_context import context_of, find_camera, read_wish, render, translation_of
from .page_undo import find_undo


class Drawing(msgspec.Struct, frozen=True):
    """What a camera's file has that can be drawn."""

    before: str
    """SHA-256 of the file, so that a change that was made elsewhere is not lost."""
    shapes: list[Shape]
    rules: list[DrawnRule]


class _Draft(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the page sends: the shapes as they should be, and the digest of the file that they were drawn on."""

    before: str
    shapes: Shapes
    save: bool


def read_drawing(config: Config) -> Drawing:
    """What can be drawn of a camera's file.

    Raises:
        Problem: it cannot be read, or has a wrong shape.
    """
    text = read_camera_text(config)
    content = read_text(text, config.camera_file.name)
    return Drawing(digest_of(text), read_shapes(content), list_rules(content))


def draft_text(present: str, shapes: list[Shape], name: str) -> str:
    """The text of a camera's file that has other shapes.

    Args:
        present: its text
        shapes: as they should be
        name: of the file, for messages

    Raises:
        Problem: the shapes fit no rule, or change what a request may not change.
    """
    content = read_text(present, name)
    used = {(shape.rule, shape.key) for shape in shapes}
    removed = {
        number
        for number, table in enumerate(content.get("rules", []))
        if (keys := REQUIRED.get(str(table.get("use")))) and not any((number, key) in used for key in keys)
    }
    text = change_text(present, apply_shapes(content, shapes), removed)
    check_permitted(content, read_text(text, name), "the draft")
    return text


async def show_draw(request: Request) -> Response:
    """The view of one camera; without a name the first camera's."""
    names = context_of(request).cameras()
    if "camera" not in request.path_params:
        return RedirectResponse(f"/draw/{names[0]}", 303) if names else render(request, "no_camera.html")
    config = await find_camera(request)
    drawing = await asyncio.to_thread(read_drawing, config)
    _ = translation_of(request)
    undo = describe_undo(await asyncio.to_thread(find_undo, config), config.camera_file.name, _)
    values: dict[str, Any] = {"drawing": msgspec.to_builtins(drawing), "texts": draw_texts(_)}
    return render(request, "draw.html", camera=config.camera, values=values, undo_text=undo)


async def send_drawing(request: Request) -> Response:
    """What the camera's file has now."""
    drawing = await asyncio.to_thread(read_drawing, await find_camera(request))
    return JSONResponse(msgspec.to_builtins(drawing))


async def change_drawing(request: Request) -> Response:
    """The difference in the camera's file, or, if the user has seen it, the request to change it."""
    config, _ = await find_camera(request), translation_of(request)
    draft = await read_wish(request, _Draft)
    if draft is None:
        return JSONResponse({"message": _("That is no drawing.")}, 400)
    try:
        present = await asyncio.to_thread(read_camera_text, config)
        if digest_of(present) != draft.before:
            return changed_elsewhere(_)
        text = await asyncio.to_thread(draft_text, present, draft.shapes, config.camera_file.name)
    except Problem as problem:
        return describe_problem(problem)
    return await answer_change(request, config, present, text, draft.before if draft.save else None)
