"""Health: how each camera is, in words, with the models, the last notices of the device, and the logs."""

from __future__ import annotations

import asyncio
import time

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ..config.configuration import Config
from ..errors import MachineProblem, Problem
from ..events.event import SystemEvent
from ..monitoring.status import request_status
from .event_records import EventReader
from .health_words import CameraHealth, Fact, describe_missing, describe_report
from .installed_models import list_installed_models
from .notice_words import describe_notice, kind_of, level_of
from .page_context import PageContext, context_of, render, translation_of
from .service_log import has_service_log, read_service_log
from .translation import Translation

MAX_NOTICES = 12
_ENDS_OF_PROBATION = ("model.accepted", "model.rolled_back")
_DAY = 86_400.0


async def show_health(request: Request) -> Response:
    """All cameras of the device."""
    context, translation = context_of(request), translation_of(request)
    names = context.cameras()
    health = [await asyncio.to_thread(_describe_camera, context, name, translation) for name in names]
    cameras = context.loadable_cameras()
    notices = await asyncio.to_thread(_list_notices, cameras)
    health = [mention_rollback(each, notices, translation) for each in health]
    models = []
    if cameras:
        models = await asyncio.to_thread(list_installed_models, next(iter(cameras.values())).state, cameras)
    told = [(each, describe_notice(each, translation), level_of(each)) for each in notices[:MAX_NOTICES]]
    return render(request, "health.html", health=health, models=models, notices=told, has_log=has_service_log())


async def show_log(request: Request) -> Response:
    """The last lines of a camera's service."""
    camera = request.path_params["camera"]
    if camera not in context_of(request).cameras():
        raise HTTPException(404)
    lines = await asyncio.to_thread(read_service_log, camera)
    return render(request, "log.html", camera=camera, lines=lines)


def _describe_camera(context: PageContext, name: str, translation: Translation) -> CameraHealth:
    config = None
    try:
        config = context.load_camera(name)
        report = request_status(config.state_folder) if config is not None else None
    except Problem as problem:
        return describe_missing(name, problem.message, problem.hint, translation)
    except PermissionError:
        reason = translation("This page may not ask its daemon.")
        return describe_missing(name, reason, translation("Run the page as the user vedette."), translation)
    except FileNotFoundError:  # it has never run, so it has no state folder
        report = None
    if config is None or report is None:
        return describe_missing(name, "", "", translation)
    has_broker = config.broker.url.partition(":")[0] != "none"
    return describe_report(report, translation, has_broker)


def _list_notices(cameras: dict[str, Config]) -> list[SystemEvent]:
    found: list[SystemEvent] = []
    for config in cameras.values():
        try:
            found += EventReader.from_config(config).list_notices(MAX_NOTICES)
        except MachineProblem:
            continue
    return sorted(found, key=lambda notice: -notice.taken)


def mention_rollback(health: CameraHealth, notices: list[SystemEvent], _: Translation) -> CameraHealth:
    """A release that was left within the last day is a fact of its camera, not only a line among the notices."""
    ends = (each for each in notices if each.camera == health.camera and kind_of(each) in _ENDS_OF_PROBATION)
    last = next(ends, None)
    if last is None or last.kind == "accepted" or time.time() - last.taken > _DAY:
        return health
    return health.add_fact(Fact(_("New release"), describe_notice(last, _), "watch"), _)
