"""Marking where the defect of an image is, with a box or a brush."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

from PIL import Image
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from vedette.runtime.page.page_context import render

from .defect_marks import save_mark
from .image_upload import MAX_PIXELS
from .image_views import describe_images
from .studio_context import image_of, studio_of
from .workspace import DEFECT


async def show_mark(request: Request) -> Response:
    """An image with its mark."""
    workspace, path = studio_of(request).workspace, image_of(request)
    label = workspace.name_of(path).partition("/")[0]
    images = workspace.images(label)
    place = images.index(path)
    before, after = images[place - 1] if place else None, images[place + 1] if place + 1 < len(images) else None
    return render(
        request,
        "mark.html",
        image=describe_images(workspace, [path])[0],
        label=label,
        can_mark=label == DEFECT,
        before=before and workspace.name_of(before),
        after=after and workspace.name_of(after),
        place=place + 1,
        count=len(images),
    )


async def send_mask(request: Request) -> Response:
    """The mask of an image, opaque where the defect is."""
    path = studio_of(request).workspace.mask_of(image_of(request))
    content = await asyncio.to_thread(_render_mask, path)
    if content is None:
        raise HTTPException(404)
    return Response(content, media_type="image/png")


def _render_mask(path: Path) -> bytes | None:
    try:
        with Image.open(path, formats=["PNG"]) as mask:
            if mask.width * mask.height > MAX_PIXELS:
                return None
            has_alpha = mask.mode in ("LA", "RGBA")
            found = mask.getchannel("A") if has_alpha else mask.convert("L")
            opaque = found.point([0] + [255] * 255)
            shown = Image.new("RGBA", mask.size, (255, 80, 80, 0))
            shown.putalpha(opaque)
            content = io.BytesIO()
            shown.save(content, "PNG")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return content.getvalue()


async def save_drawn_mark(request: Request) -> Response:
    """Stores the mark, a PNG in the body."""
    path = image_of(request)
    if studio_of(request).workspace.name_of(path).partition("/")[0] != DEFECT:
        raise HTTPException(404)
    await asyncio.to_thread(save_mark, studio_of(request).workspace, path, await request.body())
    return JSONResponse({"saved": True})
