"""Images: those of each label, dropped here or copied into the folder; each is kept or not."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote

import msgspec
from PIL import Image
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from vedette.runtime.errors import ConfigProblem
from vedette.runtime.page.page_context import render

from .image_upload import MAX_PIXELS, SUFFIX_OF, store_image
from .keep_list import keep_new, read_kept, set_kept
from .studio_context import image_of, studio_of
from .workspace import GOOD, LABELS, Workspace

Content = TypeVar("Content")
PER_PAGE = 60
_SIDES = (240, 1600)
"""Longest sides of a thumbnail and of a picture, in pixels."""


class ShownImage(msgspec.Struct, frozen=True):
    """An image in a list."""

    name: str
    file: str
    is_kept: bool
    is_marked: bool


class _Kept(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    keep: bool


async def show_images(request: Request) -> Response:
    """The images of a label."""
    workspace = studio_of(request).workspace
    label = request.query_params.get("label", GOOD)
    if label not in LABELS:
        raise HTTPException(404)
    number = request.query_params.get("page", "0")
    page = int(number) if number.isascii() and number.isdecimal() and len(number) < 6 else 0
    return await asyncio.to_thread(_render_images, request, workspace, label, page)


def _render_images(request: Request, workspace: Workspace, label: str, page: int) -> Response:
    images = {each: workspace.images(each) for each in LABELS}
    first = page * PER_PAGE
    shown = describe_images(workspace, images[label][first : first + PER_PAGE])
    counts = {each: len(paths) for each, paths in images.items()}
    pages = max(1, -(-counts[label] // PER_PAGE))
    suffixes = ",".join(each for names in SUFFIX_OF.values() for each in names)
    return render(
        request, "images.html", label=label, counts=counts, images=shown, page=page, pages=pages, suffixes=suffixes
    )


def describe_images(workspace: Workspace, paths: list[Path]) -> list[ShownImage]:
    """What a list shows of some images."""
    kept = read_kept(workspace)
    found = []
    for path in paths:
        name = workspace.name_of(path)
        is_marked = not name.startswith(f"{GOOD}/") and workspace.mask_of(path).exists()
        found.append(ShownImage(name, path.name, kept is None or name in kept, is_marked))
    return found


async def upload_image(request: Request) -> Response:
    """Stores one image, the body of the request; its name stands in the header X-Name."""
    workspace, label = studio_of(request).workspace, request.path_params["label"]
    if label not in LABELS:
        raise HTTPException(404)
    content = await request.body()
    name = unquote(request.headers.get("x-name", ""))[:1000]
    path = await asyncio.to_thread(_store, workspace, label, name, content)
    return JSONResponse({"name": workspace.name_of(path)})


def _store(workspace: Workspace, label: str, name: str, content: bytes) -> Path:
    path = store_image(workspace, label, name, content)
    keep_new(workspace, path)
    return path


async def send_picture(request: Request) -> Response:
    """An image as JPEG, small or large, with the orientation that its file states."""
    side = _SIDES["large" in request.query_params]
    path = image_of(request)
    content = await asyncio.to_thread(render_picture, path, side)
    if content is None:
        raise HTTPException(404)
    return Response(content, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=60"})


def render_picture(path: Path, side: int) -> bytes | None:
    """An image as JPEG; None: it cannot be decoded, or is too large.

    Args:
        path: the file
        side: its longest side, in pixels
    """
    from PIL import ImageOps

    try:
        with Image.open(path, formats=list(SUFFIX_OF)) as image:
            if image.width * image.height > MAX_PIXELS:
                return None
            image.draft("RGB", (side, side))
            turned = ImageOps.exif_transpose(image)
            if turned.mode.startswith("I") or turned.mode == "F":
                low, high = turned.getextrema()
                scale = 255.0 / max(float(high) - float(low), 1.0)  # type: ignore[arg-type]
                turned = turned.convert("F").point(lambda value: (value - float(low)) * scale)  # type: ignore[arg-type]
            turned = turned.convert("RGB")
            turned.thumbnail((side, side))
            content = io.BytesIO()
            turned.save(content, "JPEG", quality=85)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return content.getvalue()


async def keep_image(request: Request) -> Response:
    """Keeps or drops an image; its file stays where it is."""
    workspace = studio_of(request).workspace
    wanted = decode_body(await request.body(), _Kept)
    path = workspace.find_image(wanted.name)
    if path is None:
        raise HTTPException(404)
    await asyncio.to_thread(set_kept, workspace, path, wanted.keep)
    return JSONResponse({"keep": wanted.keep})


def decode_body(content: bytes, kind: type[Content]) -> Content:
    """The JSON of a request.

    Raises:
        ConfigProblem: it is not what the page sends.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.MsgspecError as error:
        raise ConfigProblem(f"the request is wrong: {error}", hint="load the page again") from None
