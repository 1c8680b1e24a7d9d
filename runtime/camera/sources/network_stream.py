"""A camera in the network.

    rtsp://camera.local/stream1#fps=5
    http://camera.local/video.mjpg?size=vga#fps=5&timeout=5

What stands behind the question mark is the camera's, what stands behind `#` is ours: `fps` is how many pictures a
second are looked at, at most, `timeout` the seconds that it may take to answer.
"""

from __future__ import annotations

from urllib.parse import quote

import msgspec

from ...config.credentials import secret
from ...errors import ConfigProblem
from ...plugins import options, redacted, split_url
from . import Address, Rate, Seconds
from .live_camera import Live


class Options(msgspec.Struct, forbid_unknown_fields=True):
    """Behind `#`."""

    fps: Rate = 0.0
    timeout: Seconds = 5.0


class Stream(Live):
    """See above."""

    def __init__(self, address: Address) -> None:
        parts, shown = split_url(address.url, "source"), redacted(address.url)
        if not parts.hostname:
            raise ConfigProblem(f"source {shown}: no host", hint="write it like rtsp://camera.local/stream1")
        asked = options(parts.fragment, Options, f"source {shown}: behind #")
        if address.username:
            word = secret(address.password_file, "password_file")
            who = ":".join(quote(each, safe="") for each in (address.username, word) if each is not None)
            parts = parts._replace(netloc=f"{who}@{parts.netloc.rpartition('@')[2]}")
        spec = {"reader": "stream", "url": parts._replace(fragment="").geturl(), "timeout": asked.timeout}
        super().__init__(address, spec, asked.fps)
