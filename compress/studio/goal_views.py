"""The goal, set with sliders that show what the images can vouch for."""

from __future__ import annotations

import asyncio

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from vedette.devices import profile_names
from vedette.runtime.page.page_context import render, translation_of

from .goal_form import SLIDERS, WantedGoal, count_kept, describe_steps, read_goal_keys, save_wanted
from .image_views import decode_body
from .studio_context import studio_of


async def show_goal(request: Request) -> Response:
    """The form."""
    return await asyncio.to_thread(_render_goal, request)


def _render_goal(request: Request) -> Response:
    workspace, translation = studio_of(request).workspace, translation_of(request)
    keys = read_goal_keys(workspace)
    goal, promises = keys.get("goal", {}), count_kept(workspace)
    sliders = {key: describe_steps(key, goal.get(key), promises, translation) for key in SLIDERS}
    return render(
        request,
        "goal.html",
        is_new=not keys,
        name=keys.get("name", workspace.folder.name if workspace.folder.name.isascii() else "part"),
        profile=keys.get("device", {}).get("profile", "host"),
        profiles=profile_names(),
        goal={"false_alarm_rate": 0.01} if not keys else goal,
        sliders={key: msgspec.to_builtins(steps) for key, steps in sliders.items()},
        promises=promises,
    )


async def save_goal(request: Request) -> Response:
    """Writes goal.toml."""
    wanted = decode_body(await request.body(), WantedGoal)
    await asyncio.to_thread(save_wanted, studio_of(request).workspace, wanted)
    return JSONResponse({"saved": True})
