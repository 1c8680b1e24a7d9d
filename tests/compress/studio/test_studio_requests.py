"""Who reaches the workshop's page, and what a request can do."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from asgi_client import Answer, request
from babel.messages.extract import extract_from_dir
from PIL import Image
from starlette.applications import Starlette

from vedette.compress.studio import studio_context
from vedette.compress.studio.image_upload import MAX_BYTES
from vedette.compress.studio.studio_application import make_studio
from vedette.compress.studio.studio_context import StudioContext
from vedette.compress.studio.workspace import open_workspace
from vedette.runtime.page.credentials import PageCredentials
from vedette.runtime.page.translation import PAGE_LOCALE, load_translation

TOKEN = "0123456789abcdef" * 4
ORIGIN = {"origin": "http://localhost:8080"}


class Browser:
    """A browser that may be signed in."""

    def __init__(self, app: Starlette) -> None:
        self.app = app
        answer = request(app, "POST", "/sign-in", ORIGIN, f"secret={TOKEN}".encode())
        self.headers = {"cookie": answer.cookie}
        page = request(app, "GET", "/images", self.headers).text
        self.csrf = page.partition('name="csrf" content="')[2].partition('"')[0]

    def get(self, path: str) -> Answer:
        return request(self.app, "GET", path, self.headers)

    def post(self, path: str, body: bytes = b"{}", **headers: str) -> Answer:
        return request(self.app, "POST", path, self.headers | ORIGIN | {"x-csrf-token": self.csrf} | headers, body)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "part"


@pytest.fixture
def app(folder: Path) -> Starlette:
    return make_studio(StudioContext(open_workspace(folder), PageCredentials(None, TOKEN, is_for_this_start=True)))


@pytest.fixture
def browser(app: Starlette) -> Browser:
    return Browser(app)


def jpeg(shade: int = 100) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (64, 48), (shade, 50, 50)).save(content, "JPEG")
    return content.getvalue()


@pytest.mark.parametrize("path", ["/images", "/audit", "/goal", "/builds", "/releases", "/picture?name=good/a.jpg"])
def test_nothing_without_the_link(app: Starlette, path: str) -> None:
    assert request(app, "GET", path).headers["location"] == "/sign-in"
    assert request(app, "GET", path, {"authorization": f"Bearer {TOKEN}"}).status == 303
    assert request(app, "GET", path, {"host": "evil.example"}).status == 421


def test_writing_needs_the_token_of_the_session(browser: Browser, folder: Path) -> None:
    for path in ("/images/good", "/keep", "/mark?name=x", "/audit/start", "/goal", "/builds/start", "/builds/cancel"):
        assert browser.post(path, **{"x-csrf-token": "no"}).status == 403
        assert browser.post(path, origin="http://evil.example").status == 403
    assert list(folder.iterdir()) == []


def test_image_from_the_browser_is_in_the_folder_and_the_view(browser: Browser, folder: Path) -> None:
    stored = browser.post("/images/good", jpeg(), **{"x-name": "..%2F..%2Fa%20b.jpg"})
    assert (stored.status, json.loads(stored.body)) == (200, {"name": "good/a_b.jpg"})
    assert (folder / "good/a_b.jpg").read_bytes() == jpeg()
    assert "good/a_b.jpg" in browser.get("/images").text
    assert browser.get("/picture?name=good/a_b.jpg").body.startswith(b"\xff\xd8")
    assert browser.get("/picture?name=good/../../secret.jpg").status == 404
    assert browser.post("/images/masks", jpeg()).status == 404
    refused = browser.post("/images/good", b"<html>", **{"x-name": "x.jpg"})
    assert refused.status == 422
    assert "cannot be read as an image" in json.loads(refused.body)["problem"]


def test_uploads_are_bounded_and_other_requests_more_so(browser: Browser) -> None:
    assert browser.post("/images/good", b"", **{"content-length": str(MAX_BYTES + 1)}).status == 413
    assert browser.post("/goal", bytes(300 << 10)).status == 413


def test_image_that_lies_in_the_folder_is_shown_and_dropped(browser: Browser, folder: Path) -> None:
    (folder / "good").mkdir()
    (folder / "good/<b>.jpg").write_bytes(jpeg())
    (folder / "good/broken.jpg").write_bytes(b"no")
    page = browser.get("/images").text
    assert "&lt;b&gt;.jpg" in page
    assert "<b>.jpg" not in page
    assert browser.get("/picture?name=good/broken.jpg").status == 404
    assert browser.post("/keep", b'{"name": "good/<b>.jpg", "keep": false}').status == 200
    assert (folder / "keep.csv").read_text() == "file,label,group\ngood/broken.jpg,good,\n"
    assert browser.post("/keep", b'{"name": "../x", "keep": false}').status == 404


def test_goal_by_the_form(browser: Browser, folder: Path) -> None:
    wanted = json.dumps({"name": "part", "profile": "pi4", "false_alarm_rate": 0.05}).encode()
    refused = browser.post("/goal", wanted)
    assert refused.status == 422
    assert not (folder / "goal.toml").exists()
    browser.post("/images/good", jpeg(), **{"x-name": "a.jpg"})
    assert browser.post("/goal", wanted).status == 200
    assert "false_alarm_rate = 0.05" in (folder / "goal.toml").read_text()
    assert browser.post("/goal", b'{"name": "part", "profile": "host", "__class__": 1}').status == 422
    assert "part" in browser.get("/goal").text


def test_report_reaches_nothing_and_is_framed_by_this_page_alone(browser: Browser, folder: Path) -> None:
    build = folder / "builds/1"
    build.mkdir(parents=True)
    (build / "part.html").write_text("<script>alert(1)</script>")
    (build / "figures.json").write_text('{"report": "/elsewhere/part.html", "verdict": "met"}')
    answer = browser.get("/builds/1/report")
    assert answer.status == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert policy.startswith("sandbox allow-scripts;")
    assert "allow-same-origin" not in policy
    assert "frame-ancestors 'self'" in policy
    assert "frame-ancestors 'none'" in browser.get("/images").headers["content-security-policy"]
    assert browser.get("/builds/2/report").status == 404


def test_every_text_is_translated() -> None:
    folder = Path(studio_context.__file__).parent
    methods = [("**.py", "python"), ("templates/**.html", "jinja2")]
    texts = {text for _, _, text, _, _ in extract_from_dir(folder, methods, keywords={"_": None, "translation": None})}
    catalogue = load_translation("ko", (PAGE_LOCALE, folder / "locale")).catalogue
    assert len(texts) > 100
    assert texts - set(catalogue) == set()
