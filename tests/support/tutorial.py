"""Follows a tutorial: writes the files that it shows, and types its commands, in the order of the page."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

from examples import list_examples
from waiting import patience

_FILE = re.compile(r"`([\w./]+\.toml)`:$")


def follow(page: str, folder: Path) -> dict[str, subprocess.CompletedProcess[str]]:
    """Writes the files of a page below `folder` and runs its commands there.

    A block of TOML below a line that ends in a file's name is that file. Below `Add to` it is appended to the file.
    Lines of other blocks that begin with `vedette` are commands.

    Args:
        page: from the root of the repository, for example `docs/tutorials/factory.md`
        folder: has the folder `data`

    Returns:
        what each command did, by its words
    """
    done = {}
    for example in list_examples():
        if example.page != page or example.language:
            continue
        if name := _FILE.search(example.before):
            path = folder / name[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            adds = re.search(r"Add to `[^`]*`:$", example.before)
            with path.open("a" if adds else "w") as file:
                file.write(f"\n{example.text}\n")
        elif example.kind == "shell":
            for line in example.text.splitlines():
                words = shlex.split(line, comments=True)
                assert words[0] == "vedette", f"{example}: {line}"
                done[shlex.join(words[1:])] = _type(words[1:], folder)
    return done


def _type(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vedette.runtime.cli", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=600 * patience())
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}"
    return done
