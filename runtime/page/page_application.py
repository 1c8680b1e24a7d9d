"""The page's addresses and what answers them."""

from __future__ import annotations

import logging

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ..errors import MachineProblem, Problem
from .browser_site import HERE
from .change_views import show_result, undo_change
from .draw_views import change_drawing, send_drawing, show_draw
from .event_views import export_events, judge_event, show_event, show_events, show_evidence
from .health_views import show_health, show_log
from .live_views import send_picture, send_scores, show_live
from .model_views import (
    add_piece,
    begin_upload,
    check_upload,
    discard_upload,
    go_back,
    install_upload,
    show_models,
    show_work,
)
from .page_context import PageContext, render_error, translation_of
from .request_guard import RequestGuard
from .sign_in_view import show_sign_in, sign_in, sign_out
from .threshold_views import change_threshold, show_replay, show_threshold

log = logging.getLogger(__name__)

ROUTES = [
    Route("/", lambda _: RedirectResponse("/live", 303)),
    Route("/sign-in", show_sign_in, methods=["GET"]),
    Route("/sign-in", sign_in, methods=["POST"]),
    Route("/sign-out", sign_out, methods=["POST"]),
    Route("/live", show_live),
    Route("/live/{camera}", show_live),
    Route("/live/{camera}/picture", send_picture),
    Route("/live/{camera}/scores", send_scores),
    Route("/draw", show_draw),
    Route("/draw/{camera}", show_draw),
    Route("/draw/{camera}/shapes", send_drawing),
    Route("/draw/{camera}/change", change_drawing, methods=["POST"]),
    Route("/events", show_events),
    Route("/events/export.{form}", export_events),
    Route("/events/{camera}/{event}", show_event),
    Route("/events/{camera}/{event}/evidence.{suffix}", show_evidence),
    Route("/events/{camera}/{event}/review", judge_event, methods=["POST"]),
    Route("/threshold", show_threshold),
    Route("/threshold/{camera}", show_threshold),
    Route("/threshold/{camera}/replay", show_replay),
    Route("/threshold/{camera}/change", change_threshold, methods=["POST"]),
    Route("/changes/{camera}/undo", undo_change, methods=["POST"]),
    Route("/changes/{camera}/{id}", show_result),
    Route("/health", show_health),
    Route("/health/{camera}/log", show_log),
    Route("/health/models", show_models),
    Route("/health/models/upload", begin_upload, methods=["POST"]),
    Route("/health/models/upload/{id}", add_piece, methods=["POST"]),
    Route("/health/models/discard", discard_upload, methods=["POST"]),
    Route("/health/models/check", check_upload, methods=["POST"]),
    Route("/health/models/install", install_upload, methods=["POST"]),
    Route("/health/models/rollback", go_back, methods=["POST"]),
    Route("/health/models/work/{id}", show_work),
    Mount("/static", StaticFiles(directory=HERE / "static")),
]


def make_application(context: PageContext) -> Starlette:
    """The page as an ASGI application."""
    application = Starlette(
        routes=ROUTES,
        middleware=[Middleware(RequestGuard, context=context)],
        exception_handlers=ERROR_VIEWS,
    )
    application.state.context = context
    return application


async def _explain_problem(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    log.warning("%s: %s", request.url.path, problem.message)
    status = 503 if isinstance(problem, MachineProblem) else 500
    return render_error(request, status, problem.message, problem.hint)


async def _explain_status(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    _ = translation_of(request)
    message = _("There is no such page.") if error.status_code == 404 else error.detail
    return render_error(request, error.status_code, message)


ERROR_VIEWS = {Problem: _explain_problem, HTTPException: _explain_status}
"""What answers when a view raises."""
