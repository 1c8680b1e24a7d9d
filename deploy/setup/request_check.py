"""Whether a daemon would take a camera's file: a program for a process of the daemon's user, with the file on stdin.

python -m vedette.deploy.setup.request_check DIR CAMERA < NAME.toml
"""

from __future__ import annotations

import sys
from pathlib import Path

from vedette.runtime.errors import Problem
from vedette.runtime.installation.configuration.change_requests import MAX_BYTES

from .configuration_change import check_content


def main() -> None:
    """Ends with 1 and the reason on stderr if it would not."""
    try:
        check_content(Path(sys.argv[1]), sys.argv[2], b"", sys.stdin.buffer.read(MAX_BYTES))
    except Problem as problem:
        sys.stderr.write(f"{problem.message}\n{problem.hint}\n" if problem.hint else f"{problem.message}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
