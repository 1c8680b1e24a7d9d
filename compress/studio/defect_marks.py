"""Marks on defective images: masks as `[data] mask` reads them, white where the defect is."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from vedette.runtime.atomic_file import write_atomically
from vedette.runtime.errors import ConfigProblem

from .image_upload import check_image
from .workspace import Workspace


def save_mark(workspace: Workspace, image: Path, drawn: bytes) -> None:
    """Writes the mask of an image; an empty one removes it.

    Args:
        workspace: with the folder of masks
        image: the defective image
        drawn: a PNG of its shape, transparent or black where nothing is marked

    Raises:
        ConfigProblem: it is no PNG, another image has the same stem, or the shape is wrong.
        MachineProblem: it cannot be written.
    """
    if check_image(drawn) != "PNG":
        raise ConfigProblem("the mark is no PNG", hint="load the page again")
    twins = [path for path in workspace.images(image.parent.name) if path.stem == image.stem]
    if len(twins) > 1:
        names = " and ".join(path.name for path in twins)
        raise ConfigProblem(f"{names} would share one mask, which goes by the stem", hint="rename one of them")
    with Image.open(io.BytesIO(drawn)) as opened:
        alpha = opened.convert("RGBA").getchannel("A").point([0] * 128 + [255] * 128)
    with Image.open(image) as shown:
        ratio = shown.width / shown.height
    if abs(alpha.width / alpha.height / ratio - 1) > 0.02 and abs(alpha.height / alpha.width / ratio - 1) > 0.02:
        raise ConfigProblem("the mark has another shape than the image", hint="load the page again")
    path = workspace.mask_of(image)
    if alpha.getbbox() is None:
        path.unlink(missing_ok=True)
        return
    content = io.BytesIO()
    alpha.save(content, "PNG")
    write_atomically(path, content.getvalue(), "make the folder writable")


def has_marks(workspace: Workspace) -> bool:
    """Whether there is a mask."""
    return any((workspace.folder / "masks").glob("*.png"))
