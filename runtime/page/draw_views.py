"""Draw: the zones, lines and privacy masks of a camera, changed on its picture and asked for as a new file."""

from __future__ import annotations

import asyncio

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from ..errors import UNREADABLE, MachineProblem, Problem
from ..installation.configuration.permitted_changes import check_permitted, read_text
from .camera_text import change_text
from .change_views import digest_of, propose_change, read_camera_text, send_change
from .draft_check import check_draft
from .draw_words import draw_texts
from .drawn_shapes import REQUIRED, DrawnRule, Shape, Shapes, apply_shapes, list_rules, read_shapes
from .page_context import camera_of, context_of, render, translation_of


class Drawing(msgspec.Struct, frozen=True):
    """What a camera's file has that can be drawn."""

    digest: str
    """Of the file, so that a change that was made elsewhere is not lost."""
    shapes: list[Shape]
    rules: list[DrawnRule]


class Draft(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the page sends: the shapes as they should be."""

    digest: str
    shapes: Shapes = []
    save: bool = False
    before: str = ""
    """Digest of the file of which the user has seen the difference."""


def read_drawing(text: str, name: str) -> Drawing:
    """What can be drawn of a camera's file.

    Args:
        text: of the file
        name: of the file, for errors

    Raises:
        Problem: it has a wrong shape.
    """
    content = read_text(text, name)
    return Drawing(digest_of(text), read_shapes(content), list_rules(content))


def draw(text: str, draft: Draft, name: str) -> str:
    """The text of a camera's file with the shapes of a draft.

    Raises:
        Problem: the draft fits no rule, or changes what a request may not change.
    """
    content = read_text(text, name)
    used = {(shape.rule, shape.key) for shape in draft.shapes}
    removed = {
        number
        for number, table in enumerate(content.get("rules", []))
        if (keys := REQUIRED.get(str(table.get("use")))) and not any((number, key) in used for key in keys)
    }
    drawn = change_text(text, apply_shapes(content, draft.shapes), removed)
    check_permitted(content, read_text(drawn, name), "the draft")
    return drawn


async def show_draw(request: Request) -> Response:
    """The view of one camera; without a name the first camera's."""
    names = context_of(request).cameras()
    if "camera" not in request.path_params:
        return RedirectResponse(f"/draw/{names[0]}", 303) if names else render(request, "no_camera.html")
    config = await asyncio.to_thread(camera_of, request)
    text = await asyncio.to_thread(read_camera_text, config)
    drawing = read_drawing(text, config.camera_file.name)
    values = {"drawing": msgspec.to_builtins(drawing), "texts": draw_texts(translation_of(request))}
    undo = context_of(request).changes.find_last(config.camera, text)
    return render(request, "draw.html", camera=config.camera, values=values, undo=undo)


async def send_drawing(request: Request) -> Response:
    """What the camera's file has now."""
    config = await asyncio.to_thread(camera_of, request)
    text = await asyncio.to_thread(read_camera_text, config)
    return JSONResponse(msgspec.to_builtins(read_drawing(text, config.camera_file.name)))


async def change_drawing(request: Request) -> Response:
    """The difference in the camera's file and what the daemon would say against it, or, if the user has seen both, the
    request to change it.
    """
    context, _ = context_of(request), translation_of(request)
    config = await asyncio.to_thread(camera_of, request)
    try:
        draft = msgspec.json.decode(await request.body(), type=Draft)
    except UNREADABLE:
        return JSONResponse({"message": _("That is no drawing.")}, 400)
    try:
        text = await asyncio.to_thread(read_camera_text, config)
        if digest_of(text) != draft.digest:
            return JSONResponse({"message": _("The file was changed elsewhere. Load the page again.")}, 409)
        drawn = draw(text, draft, config.camera_file.name)
        problem = await asyncio.to_thread(check_draft, context.folder, config.camera, drawn) if drawn != text else ""
    except Problem as error:
        message = f"{error.message}. {error.hint}" if error.hint else error.message
        return JSONResponse({"message": message}, 503 if isinstance(error, MachineProblem) else 400)
    if not draft.save:
        return propose_change(text, drawn, problem)
    if problem:
        return JSONResponse({"message": problem}, 400)
    return await send_change(request, config, text, drawn, draft.before)
