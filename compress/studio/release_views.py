"""Releases: reports side by side, who signed, and how a bundle comes onto a box."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response

from vedette.runtime.bundle import keys
from vedette.runtime.errors import Problem
from vedette.runtime.page.page_context import render, translation_of
from vedette.runtime.page.request_guard import PAGE_POLICY
from vedette.runtime.page.translation import Translation

from .build_records import BuildRecord, list_builds, read_identity
from .build_views import build_of
from .studio_context import StudioContext, studio_of

_REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
"""A report is a file of its own: its script has no origin, so it reaches neither this page nor any address."""


async def show_releases(request: Request) -> Response:
    """The newest release beside another one."""
    return await asyncio.to_thread(_render_releases, request, studio_of(request))


def _render_releases(request: Request, context: StudioContext) -> Response:
    records = [each for each in list_builds(context.workspace) if each.report is not None and each.bundle is not None]
    numbers = {each.number: each for each in records}
    query = request.query_params
    chosen = [
        _choose(numbers, query.get(key, ""), records[place] if place < len(records) else None)
        for place, key in enumerate(("first", "second"))
    ]
    identities = {each.number: identity for each in records if (identity := read_identity(each)) is not None}
    public = public_key_file(context)
    answer = render(
        request,
        "releases.html",
        records=records,
        identities=identities,
        chosen=chosen,
        shown=[each for each in chosen if each is not None],
        rows=_compare([each for each in chosen if each is not None], translation_of(request)),
        key_file=str(private_key_file(context)),
        key_public=public,
        key_id=_key_id(public),
    )
    answer.headers["Content-Security-Policy"] = f"{PAGE_POLICY}; frame-src 'self'"
    return answer


def _choose(numbers: dict[int, BuildRecord], wanted: str, default: BuildRecord | None) -> BuildRecord | None:
    if wanted.isascii() and wanted.isdecimal() and len(wanted) < 10:
        return numbers.get(int(wanted))
    return default


def _compare(shown: list[BuildRecord], _: Translation) -> list[tuple[str, list[str]]]:
    """Figures of the chosen releases, as the builds printed them."""
    figures = [each.figures or {} for each in shown]
    titles = {
        "auroc_int8_onnx": _("AUROC of int8 ONNX"),
        "auroc_int8_tflite": _("AUROC of int8 TFLite"),
        "false_alarm_rate": _("False alarm rate"),
        "detection_rate": _("Detection rate"),
        "bytes_int8_onnx": _("Size of the int8 ONNX file, bytes"),
    }
    rows = [(title, [_format(each.get(key)) for each in figures]) for key, title in titles.items()]
    return [row for row in rows if any(row[1])]


def _format(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else ""


def private_key_file(context: StudioContext) -> Path:
    """The key that signs the bundles."""
    return context.key or keys.user_keyring() / "workshop.key"


def public_key_file(context: StudioContext) -> Path:
    """The key that a box has to trust."""
    return private_key_file(context).with_suffix(".pub")


def _key_id(public: Path) -> str:
    try:
        return keys.key_id(keys.read_public_key(public))
    except Problem:
        return ""


async def send_report(request: Request) -> Response:
    """The report of a build."""
    report = build_of(request).report
    if report is None:
        raise HTTPException(404)
    headers = {"Content-Security-Policy": _REPORT_POLICY, "X-Frame-Options": "SAMEORIGIN"}
    return HTMLResponse(await asyncio.to_thread(report.read_bytes), headers=headers)


async def send_bundle(request: Request) -> Response:
    """The signed bundle, to carry to a box."""
    bundle = build_of(request).bundle
    if bundle is None:
        raise HTTPException(404)
    return FileResponse(bundle, media_type="application/octet-stream", filename=bundle.name)


async def send_public_key(request: Request) -> Response:
    """The public key, which is no secret."""
    public = public_key_file(studio_of(request))
    if not _key_id(public):
        raise HTTPException(404)
    return FileResponse(public, media_type="application/x-pem-file", filename=public.name)
