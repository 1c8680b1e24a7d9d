"""Who gets in: session, password, token, CSRF, the host's name, the limit of attempts."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from asgi_client import Answer, request
from page_client import TOKEN, make_app
from page_site import PASSWORD, PageSite
from starlette.applications import Starlette

from vedette.runtime.evidence.reviews import ReviewStore
from vedette.runtime.page.sessions import MAX_FAILURES


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> PageSite:
    return PageSite(tmp_path_factory.mktemp("page") / "configuration", events=1, cameras=("belt",))


def sign_in(app: Starlette, secret: str = TOKEN, client: str = "127.0.0.1", **headers: str) -> Answer:
    body = f"user=vedette&secret={secret.replace(' ', '+')}".encode()
    return request(app, "POST", "/sign-in", {"origin": "http://localhost:8080"} | headers, body, client)


def csrf_of(app: Starlette, cookie: str) -> str:
    page = request(app, "GET", "/health", {"cookie": cookie}).text
    return page.partition('name="csrf" content="')[2].partition('"')[0]


@pytest.mark.parametrize("path", ["/", "/live/belt", "/events", "/health", "/events/export.csv", "/live/belt/picture"])
def test_nothing_is_shown_without_a_session(site: PageSite, path: str) -> None:
    app = make_app(site.folder)
    answer = request(app, "GET", path)
    assert (answer.status, answer.headers["location"]) == (303, "/sign-in")
    assert request(app, "GET", path, {"accept": "application/json"}).status == 401
    assert request(app, "GET", path, {"cookie": "vedette=invented"}).status == 303
    assert "anomaly" not in answer.text


def test_password_opens_a_session_and_signing_out_ends_it(site: PageSite) -> None:
    app = make_app(site.folder, token="")
    answer = sign_in(app, PASSWORD)
    assert answer.status == 303
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(answer.headers["set-cookie"].split("; "))
    cookie = {"cookie": answer.cookie}
    assert request(app, "GET", "/health", cookie).status == 200
    token = csrf_of(app, answer.cookie)
    assert request(app, "POST", "/sign-out", cookie | {"x-csrf-token": token}).status == 204
    assert request(app, "GET", "/health", cookie).status == 303
    assert sign_in(app, "three words apar").status == 403


def test_cookie_is_bound_to_the_host_with_tls(site: PageSite) -> None:
    answer = sign_in(make_app(site.folder, is_secure=True))
    assert answer.cookie.startswith("__Host-vedette=")
    assert "Secure" in answer.headers["set-cookie"].split("; ")
    assert answer.headers["strict-transport-security"]


def test_token_serves_programs(site: PageSite) -> None:
    app = make_app(site.folder)
    assert request(app, "GET", "/events/export.json", {"authorization": f"Bearer {TOKEN}"}).status == 200
    for wrong in (f"Bearer {TOKEN}0", "Bearer ", f"Basic {TOKEN}"):
        assert request(app, "GET", "/events/export.json", {"authorization": wrong, "accept": "*/*"}).status == 401


def test_change_needs_the_token_of_the_session_and_the_same_origin(site: PageSite) -> None:
    app = make_app(site.folder)
    cookie, event = sign_in(app).cookie, site.events["belt"][0]
    path, body = f"/events/belt/{event}/review", msgspec.json.encode({"verdict": "false_alarm"})
    right = {"cookie": cookie, "x-csrf-token": csrf_of(app, cookie), "origin": "http://localhost:8080"}
    wrong = [
        right | {"x-csrf-token": ""},
        right | {"x-csrf-token": "é"},
        right | {"origin": "http://evil.example"},
        right | {"origin": "null"},
        {name: value for name, value in right.items() if name != "cookie"},
    ]
    for headers in wrong:
        assert request(app, "POST", path, headers, body).status in (303, 401, 403)
    assert ReviewStore(site.state / "belt").latest() == {}
    assert request(app, "POST", path, right, body).status == 200
    review = ReviewStore(site.state / "belt").latest()[event]
    assert (review.verdict, review.camera, review.by) == ("false_alarm", "belt", "page")
    for wrong_body in (
        b"",
        b"[]",
        b'{"verdict": "maybe"}',
        b'{"verdict": "label"}',
        b'{"verdict": "right", "by": "me"}',
    ):
        assert request(app, "POST", path, right, wrong_body).status == 400
    unknown = path.replace(event, "0" * 8 + event[8:])
    assert request(app, "POST", unknown, right, body).status == 404


@pytest.mark.parametrize("host", ["evil.example:8080", "localhost.evil.example", "127.0.0.1.nip.io", "[::1", ""])
def test_a_name_that_is_not_of_this_device_is_refused(site: PageSite, host: str) -> None:
    app = make_app(site.folder)
    cookie = sign_in(app).cookie
    assert request(app, "GET", "/health", {"cookie": cookie, "host": host}).status == 421


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8080", "[::1]:8080", "192.0.2.7", "box-7.local", "BOX-7", "page.example.com:1"]
)
def test_the_names_of_this_device_are_served(site: PageSite, host: str) -> None:
    assert request(make_app(site.folder), "GET", "/sign-in", {"host": host}).status == 200


def test_attempts_are_limited_for_an_address_even_with_the_right_password(site: PageSite) -> None:
    app = make_app(site.folder)
    for _ in range(MAX_FAILURES):
        app.state.context.limit.count_failure("192.0.2.1")
    refused = sign_in(app, TOKEN, client="192.0.2.1")
    assert refused.status == 429
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert sign_in(app, TOKEN, client="192.0.2.2").status == 303


def test_a_form_of_many_fields_is_no_password(site: PageSite) -> None:
    body = b"secret=" + TOKEN.encode() + b"&a=1" * 9
    assert request(make_app(site.folder), "POST", "/sign-in", {"origin": "http://localhost:8080"}, body).status == 403


def test_large_requests_are_refused(site: PageSite) -> None:
    app = make_app(site.folder)
    cookie = sign_in(app).cookie
    headers = {"cookie": cookie, "x-csrf-token": csrf_of(app, cookie)}
    assert request(app, "POST", "/sign-out", headers | {"content-length": str(1 << 20)}).status == 413


def test_answers_forbid_scripts_of_others_and_frames(site: PageSite) -> None:
    app = make_app(site.folder)
    for path in ("/sign-in", "/static/page.css", "/no-such-page"):
        headers = request(app, "GET", path, {"cookie": sign_in(app).cookie}).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    ["/static/../page_server.py", "/static/%2e%2e/page_server.py", "/events/belt/..%2f..%2fvedette/evidence.picture",
     "/events/../evidence.picture", "/live/nobody", "/health/belt;id/log", "/events/export.xml"],
)  # fmt: skip
def test_paths_lead_nowhere_else(site: PageSite, path: str) -> None:
    app = make_app(site.folder)
    assert request(app, "GET", path, {"cookie": sign_in(app).cookie}).status == 404


def test_text_from_outside_is_never_markup(site: PageSite, tmp_path: Path) -> None:
    app = make_app(site.folder)
    answer = request(app, "GET", "/events?label=%3Cscript%3E&rule=%22%3E", {"cookie": sign_in(app).cookie})
    assert "<script>" not in answer.text
    assert "&lt;script&gt;" in answer.text
