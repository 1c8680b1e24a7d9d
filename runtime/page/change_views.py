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
from ..errors import ConfigProblem, Problem
from ..installation.configuration.change_requests import read_result, request_change
from ..redaction import redact
from .page_context import camera_of, context_of, translation_of
from .sent_changes import SentChange

BY_PAGE = "page"
"""Who asks; the page has one user."""
_CONTEXT_LINES = 2


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


def propose_change(before: str, after: str, problem: str = "") -> Response:
    """The difference, with the digest that `send_change` wants, so that nobody saves over what another one did.

    Args:
        before: present text of the file
        after: the text that it is to have
        problem: what the daemon would say against it
    """
    lines = msgspec.to_builtins(diff_lines(before, after))
    return JSONResponse({"diff": lines, "before": digest_of(before), "problem": problem})


async def send_change(request: Request, config: Config, before: str, after: str, seen: str) -> Response:
    """Asks for the change that the user has seen.

    Args:
        request: of the browser
        config: of the camera
        before: present text of its file
        after: the text that it is to have
        seen: digest of the text of which the user has seen the difference
    """
    context, _ = context_of(request), translation_of(request)
    if digest_of(before) != seen:
        return JSONResponse({"message": _("The camera's file has changed meanwhile. Look at the change again.")}, 409)
    try:
        identity = await asyncio.to_thread(
            request_change, config.state, config.camera, after, "page", BY_PAGE, folder=context.folder
        )
    except Problem as problem:
        return JSONResponse({"message": f"{problem.message}: {problem.hint}"}, 503)
    context.changes.remember(identity, SentChange(config.camera, before, after))
    return JSONResponse({"id": identity})


async def show_result(request: Request) -> Response:
    """What became of a change; 204: it waits."""
    config, _ = camera_of(request), translation_of(request)
    result = await asyncio.to_thread(read_result, config.state, request.path_params["id"])
    if result is None or result.camera != config.camera:
        return Response(status_code=204)
    said = {
        "applied": _("Applied. The camera runs with it."),
        "refused": _("Refused; nothing was changed."),
        "rolled_back": _("Taken back: the camera did not do well with it."),
    }[result.outcome]
    can_undo = result.outcome == "applied" and result.id in context_of(request).changes.changes
    message = f"{said} {result.reason}".strip()
    return JSONResponse({"outcome": result.outcome, "message": message, "undo": can_undo})


async def undo_change(request: Request) -> Response:
    """Asks for the text from before a change, if the file still is as the change left it."""
    config, _ = camera_of(request), translation_of(request)
    change = context_of(request).changes.changes.get(request.path_params["id"])
    if change is None or change.camera != config.camera:
        return JSONResponse({"message": _("This change cannot be undone any more.")}, 404)
    present = await asyncio.to_thread(read_camera_text, config)
    return await send_change(request, config, present, change.before, digest_of(change.after))
