"""Builds: start one, watch it, cancel it, and see how it ended."""

from __future__ import annotations

import asyncio

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from vedette.runtime.page.page_context import render

from .build_records import BuildRecord, find_build, list_builds, read_identity, start_build
from .goal_form import count_kept, follow_folders, read_goal_keys
from .image_views import decode_body
from .studio_context import StudioContext, studio_of
from .workshop_process import read_progress


class _Start(msgspec.Struct, forbid_unknown_fields=True):
    previous: int | None = None


async def show_builds(request: Request) -> Response:
    """All builds, and the button that starts one."""
    return await asyncio.to_thread(_render_builds, request, studio_of(request))


def _render_builds(request: Request, context: StudioContext) -> Response:
    records = list_builds(context.workspace)
    identities = {each.number: read_identity(each) for each in records}
    return render(
        request,
        "builds.html",
        records=records,
        identities=identities,
        has_goal=bool(read_goal_keys(context.workspace)),
        promises=count_kept(context.workspace),
    )


async def start_new_build(request: Request) -> Response:
    """Starts `vedette build`."""
    context = studio_of(request)
    wanted = decode_body(await request.body(), _Start)
    number = await asyncio.to_thread(_start, context, wanted.previous)
    return JSONResponse({"number": number})


def _start(context: StudioContext, previous: int | None) -> int:
    record = None if previous is None else find_build(context.workspace, previous)
    if previous is not None and (record is None or record.bundle is None):
        raise HTTPException(404)
    follow_folders(context.workspace)
    return start_build(context.workspace, context.slot, context.key, record)


async def cancel_process(request: Request) -> Response:
    """Ends the audit or the build that runs."""
    await asyncio.to_thread(studio_of(request).slot.stop)
    return JSONResponse({"cancelled": True})


def build_of(request: Request) -> BuildRecord:
    """The build that a request names.

    Raises:
        HTTPException: there is no such build.
    """
    record = find_build(studio_of(request).workspace, request.path_params["number"])
    if record is None:
        raise HTTPException(404)
    return record


def is_running(context: StudioContext, record: BuildRecord) -> bool:
    """Whether this build runs now."""
    running = context.slot.running
    return running is not None and running.kind == "build" and running.log == record.log


async def show_build(request: Request) -> Response:
    """One build: its steps while it runs, then how it ended."""
    record, context = build_of(request), studio_of(request)
    return render(
        request,
        "build.html",
        record=record,
        is_running=is_running(context, record),
        identity=read_identity(record),
        progress=read_progress(record.log),
    )


async def send_build_state(request: Request) -> Response:
    """The steps of a build so far."""
    record, context = build_of(request), studio_of(request)
    running = is_running(context, record)
    return JSONResponse({"running": running, **msgspec.to_builtins(read_progress(record.log))})
