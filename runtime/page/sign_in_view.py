"""Signing in and out."""

from __future__ import annotations

import asyncio
import logging
import math
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from .page_context import render, site_of, translation_of

log = logging.getLogger(__name__)

_MAX_WAITING = 4
"""Attempts that wait for their turn."""


async def show_sign_in(request: Request) -> Response:
    """The form."""
    is_link = site_of(request).credentials.is_for_this_start
    return render(request, "sign_in.html", message="", wait=0, is_link=is_link)


async def sign_in(request: Request) -> Response:
    """Begins a session if the password or the token is right."""
    context, _ = site_of(request), translation_of(request)
    address = request.client.host if request.client is not None else ""
    try:
        fields = parse_qs((await request.body()).decode(errors="replace"), max_num_fields=4)
    except ValueError:  # more fields than the form has
        fields = {}
    secret = fields.get("secret", [""])[0]
    is_link = context.credentials.is_for_this_start
    wait = math.ceil(context.limit.seconds_to_wait(address))
    if wait > 0 or context.limit.waiting >= _MAX_WAITING:
        message = _("Too many attempts. Try again in %(seconds)s seconds.", seconds=max(wait, 1))
        answer = render(request, "sign_in.html", 429, message=message, wait=wait, is_link=is_link)
        answer.headers["Retry-After"] = str(max(wait, 1))
        return answer
    context.limit.count_failure(address)
    context.limit.waiting += 1
    try:
        async with context.sign_in_lock:  # a check takes 16 MiB and a core for a moment; the daemon needs both more
            is_right = await asyncio.to_thread(context.credentials.accepts, secret)
    finally:
        context.limit.waiting -= 1
    if not is_right:
        log.warning("%s: a wrong password for the page", address)
        return render(request, "sign_in.html", 403, message=_("That is not right."), wait=0, is_link=is_link)
    context.limit.forgive(address)
    answer = RedirectResponse("/", 303)
    answer.set_cookie(
        context.cookie_name,
        context.sessions.start(),
        secure=context.is_secure,
        httponly=True,
        samesite="strict",
        path="/",
    )
    return answer


async def sign_out(request: Request) -> Response:
    """Ends the session."""
    context = site_of(request)
    context.sessions.end(request.cookies.get(context.cookie_name, ""))
    answer = Response(status_code=204)
    answer.delete_cookie(context.cookie_name, path="/", secure=context.is_secure, httponly=True, samesite="strict")
    answer.headers["Clear-Site-Data"] = '"cache"'
    return answer
