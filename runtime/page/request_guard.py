"""What every request passes: the host's name, the session, the CSRF token, limits of size, and the security headers.

A request that is refused here reaches no view. Scripts, styles and pictures come from this page alone; the policy
forbids inline scripts, so text from outside (a label, a file name) can never run.
"""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .browser_site import BrowserSite
from .listen_address import split_host
from .page_context import LANGUAGE_COOKIE
from .sessions import is_csrf_token
from .translation import choose_language, languages, load_translation

OPEN_PATHS = ("/sign-in", "/static/")
"""What is shown without a session."""
SAFE_METHODS = ("GET", "HEAD")
TOO_LARGE = "the request is too large\n"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "font-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""The content policy of a view that sets none."""
_HEADERS = {
    "Content-Security-Policy": PAGE_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class _TooLarge(Exception):
    """The body, sent in pieces, is longer than the site takes."""


class RequestGuard:
    """The middleware around all views."""

    def __init__(self, app: ASGIApp, context: BrowserSite) -> None:
        self.app, self.context = app, context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuses a request, or passes it on with its session and its language."""
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        cookies = _read_cookies(headers)
        state = scope.setdefault("state", {})
        language = choose_language(cookies.get(LANGUAGE_COOKIE, ""), headers.get("accept-language", ""))
        wanted = parse_qs(scope["query_string"].decode("latin-1")).get("language", [""])[0]
        if wanted in languages():
            language = wanted
        state["translation"] = load_translation(language, self.context.locale_folders)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    answer.setdefault(name, value)
                if self.context.is_secure:
                    answer["Strict-Transport-Security"] = "max-age=31536000"
                answer.setdefault("Cache-Control", "no-store")
                if wanted == language:
                    answer.append(
                        "Set-Cookie", f"{LANGUAGE_COOKIE}={language}; Path=/; Max-Age=31536000; SameSite=Strict"
                    )
            await send(message)

        refusal = self._check(scope, headers, cookies)
        if refusal is not None:
            await refusal(scope, receive, send_with_headers)
            return
        try:
            limited = _limited(receive, self.context.body_limit(scope["path"]))
            await self.app(scope, limited, send_with_headers)
        except _TooLarge:
            await PlainTextResponse(TOO_LARGE, 413)(scope, receive, send_with_headers)
        except ClientDisconnect:
            pass  # it sent a part of its body; nobody waits for an answer

    def _check(self, scope: Scope, headers: Headers, cookies: dict[str, str]) -> Response | None:
        """The answer to a request that is refused; None: it may pass."""
        host = headers.get("host", "")
        if not self.context.hosts.knows(host):
            hint = "open the page by its address, or add the name to [page] hosts in vedette.toml"
            return PlainTextResponse(f"unknown host: {hint}\n", 421)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self.context.body_limit(scope["path"]):
            return PlainTextResponse(TOO_LARGE, 413)
        if scope["method"] not in SAFE_METHODS and not _is_same_origin(headers, host):
            return PlainTextResponse("the request came from another site\n", 403)
        path = scope["path"]
        if any(path == each or (each.endswith("/") and path.startswith(each)) for each in OPEN_PATHS):
            return None
        return self._check_session(scope, headers, cookies)

    def _check_session(self, scope: Scope, headers: Headers, cookies: dict[str, str]) -> Response | None:
        if self._has_token(headers):  # not a browser: no cookie that another site could use
            return None
        session = self.context.sessions.find(cookies.get(self.context.cookie_name, ""))
        if session is None:
            is_view = scope["method"] == "GET" and "text/html" in headers.get("accept", "")
            return RedirectResponse("/sign-in", 303) if is_view else PlainTextResponse("sign in first\n", 401)
        if scope["method"] not in SAFE_METHODS and not is_csrf_token(session, headers.get("x-csrf-token", "")):
            return PlainTextResponse("the page is out of date: load it again\n", 403)
        scope["state"]["session"] = session
        return None

    def _has_token(self, headers: Headers) -> bool:
        """Whether a request carries the configured token, which is too long to be guessed."""
        kind, _, secret = headers.get("authorization", "").partition(" ")
        credentials = self.context.credentials
        if kind.lower() != "bearer" or credentials.is_for_this_start:
            return False
        return credentials.accepts_token(secret.strip())


def _is_same_origin(headers: Headers, host: str) -> bool:
    """Browsers say where a request that changes something comes from; programs say nothing."""
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")
    return origin.partition("://")[2].lower() == host.lower() and bool(split_host(host))


def _read_cookies(headers: Headers) -> dict[str, str]:
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(headers.get("cookie", "")).items()}
    except CookieError:
        return {}


def _limited(receive: Receive, limit: int) -> Receive:
    """Ends a request whose body, sent in pieces, gets too long."""
    received = 0

    async def receive_some() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise _TooLarge
        return message

    return receive_some
