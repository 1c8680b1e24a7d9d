"""Live: what a camera sees now, what the model makes of it, and why a rule is open."""

from __future__ import annotations

import asyncio
import re
import time

import numpy as np
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from ..live.scores import read_scores
from .page_context import context_of, find_camera, render, translation_of

_VIEWER = re.compile(r"[0-9a-f]{16,64}")
LINE_SECONDS = 60.0
"""What the line of the score shows."""
PICTURE_TYPE = "application/vnd.vedette.picture"


async def show_live(request: Request) -> Response:
    """The view of one camera, which fetches its pictures itself; without a name the first camera's."""
    names = context_of(request).cameras()
    camera = request.path_params.get("camera")
    if camera is None:
        return RedirectResponse(f"/live/{names[0]}", 303) if names else render(request, "no_camera.html")
    if camera not in names:
        raise HTTPException(404)
    _ = translation_of(request)
    texts = {
        "alarm": _("Alarm"),
        "quiet": _("No alarm"),
        "above": _("%(distance)s above the limit %(limit)s"),
        "below": _("%(distance)s below the limit %(limit)s"),
        "since": _("since"),
        "none": _("No rule is open."),
        "last": _("Last alarm:"),
        "waiting": _("Waiting for the camera. After a change it comes back within seconds; otherwise look at Health."),
        "busy": _("Too many viewers. Close another window."),
        "lost": _("The page does not answer. It tries again."),
        "late": _("old"),
        "region": _("Dashed line: the region of interest. Only what is inside it is reported. In use since %(time)s."),
    }
    return render(request, "live.html", camera=camera, texts=texts)


async def send_scores(request: Request) -> Response:
    """The scores of the last minute, as far as they are written: pairs of age in seconds and score, oldest first."""
    config = await find_camera(request)
    scores = await asyncio.to_thread(read_scores, config.state_folder)
    ages = time.time() - scores.taken
    recent = (ages >= 0) & (ages <= LINE_SECONDS) & np.isfinite(scores.last)
    return JSONResponse([*zip(ages[recent].tolist(), scores.last[recent].tolist(), strict=True)])


async def send_picture(request: Request) -> Response:
    """The next picture with all that is drawn over it. It waits until the camera has one."""
    context, viewer = context_of(request), request.query_params.get("viewer", "")
    if not _VIEWER.fullmatch(viewer):
        raise HTTPException(404)
    config = await find_camera(request)
    try:
        next_picture, translation = context.pictures.next_picture, translation_of(request)
        message = await asyncio.to_thread(next_picture, viewer, config.state_folder, translation)
    except (BlockingIOError, PermissionError):
        return PlainTextResponse("busy\n", 429, headers={"Retry-After": "5"})
    return Response(status_code=204) if message is None else Response(message, media_type=PICTURE_TYPE)
