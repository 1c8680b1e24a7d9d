"""Where the scores of each product of a camera are kept: those of the first one in the camera's state folder, those of
further ones below it, by their number for the line.
"""

from __future__ import annotations

from pathlib import Path

from ..config.configuration import Config

PRODUCTS_FOLDER = "products"


def find_score_folder(settings: Config, index: int) -> Path:
    """The folder of the scores of a product.

    Args:
        settings: of the camera
        index: of the product for the line; without `[[products]]` any
    """
    first = settings.products[0].settings.index if settings.products else index
    folder = settings.state_folder
    return folder if index == first else folder / PRODUCTS_FOLDER / str(index)


def camera_of_scores(folder: Path) -> str:
    """The name of the camera whose scores lie in a folder."""
    return folder.parents[1].name if folder.parent.name == PRODUCTS_FOLDER else folder.name
