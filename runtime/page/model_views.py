"""Models: what is installed, an upload of a bundle, its installation, and the way back; each change is confirmed."""

from __future__ import annotations

import asyncio
import getpass
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..bundle.archive import MAX_BYTES
from ..config.camera_products import list_installed
from ..config.configuration import device_folders, load_device
from ..errors import MachineProblem, Problem
from ..installation.installation_preview import InstallationPreview
from ..installation.model_store import find_unwritable
from ..monitoring.status import request_status
from ..redaction import redact
from .bundle_upload import PIECE_BYTES
from .installed_models import ListedModel, list_installed_models
from .model_words import (
    describe_installation,
    describe_rollback,
    describe_state,
    words_of_models,
)
from .model_work import WorkResult
from .page_context import PageContext, context_of, read_wish, render, translation_of
from .translation import Translation


class _Begin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    bytes: Annotated[int, msgspec.Meta(ge=0, le=1 << 50)]


class _Upload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    upload: str


class _Install(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    upload: str
    minutes: Annotated[float, msgspec.Meta(ge=0, le=10_000)]
    name: str
    current: int | None
    """The release that the user saw as the current one."""


class _Back(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    save: bool
    current: int | None = None
    previous: int | None = None


async def show_models(request: Request) -> Response:
    """The products of the device with their releases, and what can be done with them."""
    context, translation = context_of(request), translation_of(request)
    state = _state_of(context)
    models = await asyncio.to_thread(_list_models, context)
    probations = await asyncio.to_thread(_ask_probations, context, models)
    return render(
        request,
        "models.html",
        models=models,
        describe=lambda model, release: describe_state(model, release, translation),
        probations=probations,
        unwritable=find_unwritable(state),
        user=_user_name(),
        texts=words_of_models(translation) | {"piece": PIECE_BYTES, "most": MAX_BYTES},
    )


async def begin_upload(request: Request) -> Response:
    """Makes room for a bundle."""
    context, _ = context_of(request), translation_of(request)
    wish = await read_wish(request, _Begin)
    if wish is None:
        return _refuse(_("That is no upload."), 400)
    if wish.bytes > MAX_BYTES:
        return _refuse(words_of_models(_)["too-large"] % (MAX_BYTES >> 20), 413)
    return await _answer(request, lambda: {"upload": context.upload.begin(_state_of(context), wish.bytes)})


async def add_piece(request: Request) -> Response:
    """The next piece of a bundle, which is the body of the request."""
    context, offset = context_of(request), request.query_params.get("offset", "")
    content = await request.body()
    identity, place = request.path_params["id"], int(offset) if offset.isdecimal() and len(offset) < 12 else -1
    return await _answer(request, lambda: {"complete": context.upload.add(identity, place, content)})


async def discard_upload(request: Request) -> Response:
    """Deletes a bundle that is not wanted."""
    wish = await read_wish(request, _Upload)
    if wish is not None:
        await asyncio.to_thread(context_of(request).upload.discard, wish.upload)
    return Response(status_code=204)


async def check_upload(request: Request) -> Response:
    """Verifies a bundle as `vedette install` does, and says what its installation would change."""
    context, _ = context_of(request), translation_of(request)
    wish = await read_wish(request, _Upload)
    if wish is None or (path := context.upload.find(wish.upload)) is None:
        return _upload_is_gone(_)

    def check() -> dict[str, object] | Response:
        result = context.work.run(["install", str(path), "--check", "--json"], context.folder)
        if result.code:
            context.upload.discard(wish.upload)
            return JSONResponse(_describe_failure(result, path, _), 422)
        preview = msgspec.json.decode(result.output, type=InstallationPreview)
        is_watched = preview.previous is not None and not preview.is_return
        lines = describe_installation(preview, _)
        return {"lines": lines, "name": preview.name, "current": preview.current, "probation": is_watched}

    return await _answer(request, check)


async def install_upload(request: Request) -> Response:
    """Starts the installation of a bundle that its user has seen described."""
    context, _ = context_of(request), translation_of(request)
    wish = await read_wish(request, _Install)
    if wish is None or (path := context.upload.find(wish.upload)) is None:
        return _upload_is_gone(_)
    models = {each.name: each.current for each in await asyncio.to_thread(_list_models, context)}
    if models.get(wish.name) != wish.current:
        return _changed_elsewhere(_)
    arguments = ["install", "--probation", f"{wish.minutes:g}", "--json", str(path)]
    finish = lambda: context.upload.discard(wish.upload)  # noqa: E731
    return await _answer(request, lambda: {"work": context.work.start(arguments, context.folder, finish)})


async def go_back(request: Request) -> Response:
    """Says what a rollback would change, or starts the one that its user has seen described."""
    context, _ = context_of(request), translation_of(request)
    wish = await read_wish(request, _Back)
    models = {each.name: each for each in await asyncio.to_thread(_list_models, context)}
    model = models.get(wish.name) if wish is not None else None
    if wish is None or model is None or model.previous is None:
        return _refuse(_("There is no release to go back to."), 404)
    if not wish.save:
        return JSONResponse(
            {"lines": describe_rollback(model, _), "current": model.current, "previous": model.previous}
        )
    if (wish.current, wish.previous) != (model.current, model.previous):
        return _changed_elsewhere(_)
    arguments = ["rollback", "--", model.name]
    return await _answer(request, lambda: {"work": context.work.start(arguments, context.folder, lambda: None)})


async def show_work(request: Request) -> Response:
    """How an installation or a rollback ended; 204: it runs."""
    work, _ = context_of(request).work, translation_of(request)
    if request.path_params["id"] != work.identity:
        return _refuse(_("This page was started again meanwhile. The list shows what is installed."), 404)
    if (result := work.result) is None:
        return Response(status_code=204)
    if result.code:
        return JSONResponse(_describe_failure(result, None, _) | {"outcome": "failed"})
    return JSONResponse({"outcome": "done", "message": _("Done. The list shows how the cameras take it.")})


def _state_of(context: PageContext) -> Path:
    return device_folders(context.folder, load_device(context.folder))[0]


def _list_models(context: PageContext) -> list[ListedModel]:
    return list_installed_models(_state_of(context), context.loadable_cameras())


def _ask_probations(context: PageContext, models: list[ListedModel]) -> dict[str, str]:
    """What the daemons say of the probation that they run, by camera."""
    found = {}
    for name, config in context.loadable_cameras().items():
        if not list_installed(config) & {each.name for each in models}:
            continue
        try:
            report = request_status(config.state_folder)
        except (Problem, OSError):
            continue
        if report is not None and report.probation is not None:
            found[name] = report.probation
    return found


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.geteuid())


async def _answer(request: Request, act: Callable[[], dict[str, object] | Response]) -> Response:
    """What a change answers, or why it is refused; a user who may not write the store can do none."""
    _ = translation_of(request)
    if (place := find_unwritable(_state_of(context_of(request)))) is not None:
        detail = f"{place}: {_user_name()}"
        return _refuse(_("This page may not install models. Use the commands on the device."), 403, detail)
    try:
        done = await asyncio.to_thread(act)
    except Problem as problem:
        status = 507 if isinstance(problem, MachineProblem) else 409
        return _refuse(_("The device did not take it."), status, problem.message, problem.hint)
    return done if isinstance(done, Response) else JSONResponse(done)


def _describe_failure(result: WorkResult, path: Path | None, _: Translation) -> dict[str, str]:
    said = {
        2: _("Refused: it does not fit this device or its cameras. Nothing was changed."),
        3: _("Refused: the device does not trust this bundle, or cannot run it. Nothing was changed."),
        4: _("Not done: this device lacks something. Nothing was changed."),
    }.get(result.code, _("It did not work."))
    detail = f"{result.message}; {result.remedy}" if result.remedy else result.message
    return {"message": said, "detail": redact(detail.replace(f"{path}: ", "") if path is not None else detail)}


def _refuse(message: str, status: int, detail: str = "", remedy: str = "") -> Response:
    shown = f"{detail}; {remedy}" if remedy else detail
    return JSONResponse({"message": message, "detail": redact(shown)}, status)


def _upload_is_gone(_: Translation) -> Response:
    return _refuse(_("The upload is gone. Choose the file again."), 409)


def _changed_elsewhere(_: Translation) -> Response:
    return _refuse(_("Another release was installed meanwhile. Look at the list, and try again."), 409)
