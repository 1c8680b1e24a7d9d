"""The page of a device with two viewers of a line, until SIGTERM; then a line with the pictures that they got.

python tests/bench/line_viewers.py FOLDER CAMERA. `make bench-line` starts it for its case `page` (docs/line.md).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
from pathlib import Path

from page import sign_in, unit_environment

VIEWERS = 2
PAUSE_SECONDS = 0.1
"""Between two pictures of a viewer, as live.js waits."""


def main() -> None:
    """Starts the page, and asks for pictures."""
    folder, camera = Path(sys.argv[1]), sys.argv[2]
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    command = [sys.executable, "-m", "vedette.runtime.cli", "page", "--config", str(folder)]
    environment, pictures, started = os.environ | unit_environment(), 0, time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as page:
        try:
            assert page.stdout is not None
            base, _, token = page.stdout.readline().split()[-1].replace("/sign-in", "").partition("#")
            opener = sign_in(base, token)
            while not ended:
                for viewer in range(VIEWERS):
                    try:
                        answer = opener.open(f"{base}/live/{camera}/picture?viewer={viewer:032x}", timeout=10)
                        pictures += answer.status == 200 and bool(answer.read())
                    except (urllib.error.URLError, TimeoutError, ConnectionError):
                        continue  # the daemon is starting, or ends
                time.sleep(PAUSE_SECONDS)
        finally:
            page.terminate()
    sys.stdout.write(f"{pictures / (time.monotonic() - started):.2f}\n")


if __name__ == "__main__":
    main()
