"""The addresses of the workshop's page and what answers them."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from vedette.runtime.errors import MachineProblem, Problem
from vedette.runtime.page.browser_site import HERE as PAGE
from vedette.runtime.page.page_application import ERROR_VIEWS
from vedette.runtime.page.page_context import render_error
from vedette.runtime.page.request_guard import RequestGuard
from vedette.runtime.page.sign_in_view import show_sign_in, sign_in, sign_out

from .audit_views import send_audit_state, show_audit, start_audit
from .build_views import cancel_process, send_build_state, show_build, show_builds, start_new_build
from .goal_views import save_goal, show_goal
from .image_views import keep_image, send_picture, show_images, upload_image
from .mark_views import save_drawn_mark, send_mask, show_mark
from .release_views import send_bundle, send_public_key, send_report, show_releases
from .studio_context import STUDIO, StudioContext

ROUTES = [
    Route("/", lambda _: RedirectResponse("/images", 303)),
    Route("/sign-in", show_sign_in, methods=["GET"]),
    Route("/sign-in", sign_in, methods=["POST"]),
    Route("/sign-out", sign_out, methods=["POST"]),
    Route("/images", show_images),
    Route("/images/{label}", upload_image, methods=["POST"]),
    Route("/picture", send_picture),
    Route("/keep", keep_image, methods=["POST"]),
    Route("/mark", show_mark, methods=["GET"]),
    Route("/mark", save_drawn_mark, methods=["POST"]),
    Route("/mask", send_mask),
    Route("/audit", show_audit),
    Route("/audit/start", start_audit, methods=["POST"]),
    Route("/audit/state", send_audit_state),
    Route("/goal", show_goal, methods=["GET"]),
    Route("/goal", save_goal, methods=["POST"]),
    Route("/builds", show_builds),
    Route("/builds/start", start_new_build, methods=["POST"]),
    Route("/builds/cancel", cancel_process, methods=["POST"]),
    Route("/builds/{number:int}", show_build),
    Route("/builds/{number:int}/state", send_build_state),
    Route("/builds/{number:int}/report", send_report),
    Route("/builds/{number:int}/bundle", send_bundle),
    Route("/releases", show_releases),
    Route("/releases/key", send_public_key),
    Mount("/static/studio", StaticFiles(directory=STUDIO / "static")),
    Mount("/static", StaticFiles(directory=PAGE / "static")),
]


def make_studio(context: StudioContext) -> Starlette:
    """The workshop's page as an ASGI application."""
    application = Starlette(
        routes=ROUTES,
        middleware=[Middleware(RequestGuard, context=context)],
        exception_handlers={**ERROR_VIEWS, Problem: _explain_problem},
    )
    application.state.context = context
    return application


async def _explain_problem(request: Request, problem: Exception) -> Response:
    """What went wrong: as a page for a view, as JSON for a request that would have changed something."""
    assert isinstance(problem, Problem)
    if request.method == "POST":
        return JSONResponse({"problem": problem.message, "hint": problem.hint}, 422)
    return render_error(request, 503 if isinstance(problem, MachineProblem) else 500, problem.message, problem.hint)
