"""Where frames come from, chosen by the scheme of a URL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from ..frame import Frame
from ..parts import choose, split_url

SOURCES = {"file": ".file:File"}


class Source(Protocol):
    """A camera, or what stands in for one."""

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        """Frames as they come, until there are no more or `stop` is set.

        Raises:
            MachineProblem: nothing can be read.
        """


def load(camera: str, url: str, base: Path) -> Source:
    """The source that `url` describes; relative paths in it start at `base`.

    Raises:
        ConfigProblem: the scheme is unknown, or the rest of the URL does not suit it.
    """
    source: Source = choose(__package__, SOURCES, split_url(url, "source").scheme, "source")(camera, url, base)
    return source
