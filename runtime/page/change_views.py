"""Changes of a camera's file: the difference first, then the request, its result, and the way back.

A view makes the whole new text of the file; the file belongs to root, who decides what becomes of it
(`installation/configuration/change_requests.py`). The browser gets the difference and never sends text of the file.
"""

from __future__ import annotations

import asyncio
import difflib
import hashlib
from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..config.configuration import Config
from ..errors import ConfigProblem, MachineProblem, Problem
from ..installation.configuration.change_requests import read_result, request_change
from ..installation.configuration.permitted_changes import read_text
from ..redaction import redact
from .change_words import describe_result, describe_undo, list_changes
from .draft_check import check_draft
from .page_context import BY_PAGE, context_of, find_camera, read_wish, translation_of
from .page_undo import find_undo
from .translation import Translation

_CONTEXT_LINES = 2


class _Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    save: bool
    before: str = ""


class DiffLine(msgspec.Struct, frozen=True):
    """A line of the difference between two texts."""

    sign: Literal["+", "-", " ", "@"]
    """Added, removed, the same, or lines that are left out."""
    text: str


def digest_of(text: str) -> str:
    """Tells two texts of a file apart: SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()


def diff_lines(before: str, after: str) -> list[DiffLine]:
    """The difference of two texts, with two lines around each change. Logins are taken out."""
    found = []
    for line in [*difflib.unified_diff(before.splitlines(), after.splitlines(), n=_CONTEXT_LINES, lineterm="")][2:]:
        sign = line[:1] or " "
        found.append(DiffLine(sign, "" if sign == "@" else redact(line[1:])))  # type: ignore[arg-type]
    return found


def read_camera_text(config: Config) -> str:
    """The present text of a camera's file.

    Raises:
        ConfigProblem: it cannot be read.
    """
    try:
        return config.camera_file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigProblem(
            f"{config.camera_file}: cannot be read", "is it UTF-8, and may the page read it?"
        ) from error


def words_of_changes(_: Translation) -> dict[str, str]:
    """The words that change.js needs."""
    return {
        "offline": _("The page does not answer. It tries again."),
        "waiting": _("The device checks the file and watches the camera with it. This takes up to a minute."),
        "late": _("No result yet. The health view shows what becomes of it."),
        "same": _("Nothing has changed."),
        "checked": _("The device has checked the changes: they can be saved."),
        "refused-now": _("The device would refuse these changes:"),
    }


def describe_problem(problem: Problem) -> Response:
    """A problem as change.js tells it."""
    message = f"{problem.message}. {problem.hint}" if problem.hint else problem.message
    return JSONResponse({"message": redact(message)}, 503 if isinstance(problem, MachineProblem) else 400)


async def answer_change(
    request: Request, config: Config, before: str, after: str, seen: str | None, about: str = ""
) -> Response:
    """Shows a change, or asks for the one that the user has seen.

    Args:
        request: of the browser
        config: of the camera
        before: present text of its file
        after: the text that it is to have
        seen: digest of the text of which the user has seen the difference; None: the user sees it now
        about: what the change is

    Returns:
        The difference, what the daemon would say against it, and the digest to ask with; or the ID of the request.
    """
    context, _ = context_of(request), translation_of(request)
    if seen is not None and digest_of(before) != seen:
        return changed_elsewhere(_)
    try:
        problem = await asyncio.to_thread(check_draft, context.folder, config.camera, after) if after != before else ""
        if seen is None:
            diff = msgspec.to_builtins(diff_lines(before, after))
            name = config.camera_file.name
            changes = list_changes(read_text(before, name), read_text(after, name), _)
            values = {"diff": diff, "before": digest_of(before), "problem": redact(problem), "about": about}
            values["changes"] = changes
            return JSONResponse(values)
        if problem:
            return describe_problem(ConfigProblem(problem))
        identity = await asyncio.to_thread(
            request_change, config.state, config.camera, after, "page", BY_PAGE, folder=context.folder
        )
    except Problem as error:
        return describe_problem(error)
    return JSONResponse({"id": identity})


def changed_elsewhere(_: Translation) -> Response:
    """Nobody saves over what another one did."""
    return JSONResponse({"message": _("The file was changed elsewhere. Load the page again.")}, 409)


async def show_result(request: Request) -> Response:
    """What became of a change; 204: it waits."""
    config, _ = await find_camera(request), translation_of(request)
    result = await asyncio.to_thread(read_result, config.state, request.path_params["id"])
    if result is None or result.camera not in (config.camera, ""):
        return Response(status_code=204)
    undo = describe_undo(await asyncio.to_thread(find_undo, config), config.camera_file.name, _)
    message, level = describe_result(result, _)
    values = {"outcome": result.outcome, "message": redact(message), "level": level, "undo": undo}
    return JSONResponse(values | {"commands": [redact(each) for each in result.left]})


async def undo_change(request: Request) -> Response:
    """Shows what the last change of the page would take back, or asks for the file from before it."""
    config, _ = await find_camera(request), translation_of(request)
    wish = await read_wish(request, _Wish)
    if wish is None:
        return JSONResponse({"message": _("This change cannot be undone any more.")}, 400)
    undo = await asyncio.to_thread(find_undo, config)
    if undo is None:
        return JSONResponse({"message": _("This change cannot be undone any more.")}, 404)
    about = _("This takes back what the page changed at %(time)s.", time=undo.time)
    return await answer_change(request, config, undo.present, undo.before, wish.before if wish.save else None, about)
