"""The audit of the folder, and one click to keep or drop what it found."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from vedette.runtime.page.page_context import render

from .image_views import describe_images
from .studio_context import StudioContext, studio_of
from .workshop_process import read_progress
from .workspace import LABELS, Workspace

_MAX_SHOWN = 200


async def show_audit(request: Request) -> Response:
    """What the last audit found."""
    context = studio_of(request)
    return await asyncio.to_thread(_render_audit, request, context)


def _render_audit(request: Request, context: StudioContext) -> Response:
    workspace = context.workspace
    audit = read_audit(workspace)
    findings = []
    for each in (audit or {}).get("findings", [])[:_MAX_SHOWN]:
        paths = [
            path for name in (each["file"], *each["others"][:5]) if (path := workspace.find_image(name)) is not None
        ]
        findings.append({**each, "images": describe_images(workspace, paths)})
    running = context.slot.running
    log = workspace.folder / "audit.log"
    failed = read_progress(log).steps if audit is None and running is None and log.exists() else []
    return render(
        request,
        "audit.html",
        audit=audit,
        findings=findings,
        is_stale=audit is not None and is_stale(workspace),
        is_auditing=running is not None and running.kind == "audit",
        has_images=any(workspace.images(label) for label in LABELS),
        failed=failed[-2:],
    )


async def start_audit(request: Request) -> Response:
    """Starts `vedette audit` on the folder."""
    context = studio_of(request)
    workspace = context.workspace
    out, log = workspace.folder / ".audit.json.new", workspace.folder / "audit.log"

    def finish(code: int) -> None:
        if code in (0, 1):
            out.replace(workspace.audit_file)
        else:
            out.unlink(missing_ok=True)

    arguments = ["audit", str(workspace.folder), "--json"]
    context.slot.start("audit", arguments, workspace.folder, log, out, finish)
    return JSONResponse({"started": True})


async def send_audit_state(request: Request) -> Response:
    """Whether it runs, and how far it is."""
    context = studio_of(request)
    running = context.slot.running
    progress = read_progress(context.workspace.folder / "audit.log")
    is_running = running is not None and running.kind == "audit"
    return JSONResponse({"running": is_running, "counted": progress.counted})


def read_audit(workspace: Workspace) -> dict[str, Any] | None:
    """The last audit, as `vedette audit --json` prints it; None: there is none."""
    try:
        return msgspec.json.decode(workspace.audit_file.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError):
        return None


def is_stale(workspace: Workspace) -> bool:
    """Whether images came or changed since the last audit."""
    checked = workspace.audit_file.stat().st_mtime
    changed = [path for paths in workspace.all_images().values() for path in paths]
    folders = {path.parent for path in changed} | {workspace.folder / label for label in LABELS}
    return any(path.stat().st_mtime > checked for path in (*changed, *folders) if path.exists())
