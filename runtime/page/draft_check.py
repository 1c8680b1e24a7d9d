"""Whether a daemon would take the draft of a camera's file: a program of its own, so that the page stays small.

python -m vedette.runtime.page.draft_check DIR CAMERA < NAME.toml
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from ..config.configuration import Config, load_config
from ..errors import MachineProblem, Problem

CHECK_SECONDS = 60.0


def check_draft(folder: Path, camera: str, text: str) -> str:
    """What the daemon's loader says against a draft; empty: nothing.

    Args:
        folder: with vedette.toml
        camera: its name
        text: the draft

    Raises:
        MachineProblem: the check cannot be made.
    """
    command = [sys.executable, "-m", "vedette.runtime.page.draft_check", str(folder.absolute()), camera]
    try:
        done = subprocess.run(  # noqa: S603
            command, input=text.encode(), capture_output=True, timeout=CHECK_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MachineProblem(f"the check of a draft: {error}") from None
    if done.returncode == 0:
        return ""
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return "; ".join(lines[-2:])[:1000] or f"the check ended with {done.returncode}"


def _load(folder: Path, camera: str, content: bytes) -> None:
    """Loads the draft as the daemon does: its keys, then its rules with the bundle, if that can be opened.

    Raises:
        Problem: it would not take it.
    """
    from ..bundle.release_memory import open_bundle_to_run
    from ..rules.rule_set import RuleSet

    present = load_config(folder, camera)
    with tempfile.TemporaryDirectory(prefix="vedette-draft-") as name:
        stage = Path(name)
        (stage / "cameras").mkdir()
        (stage / "vedette.toml").symlink_to((folder / "vedette.toml").absolute())
        (stage / "cameras" / f"{camera}.toml").write_bytes(content)
        try:
            draft: Config = load_config(stage, camera)
        except Problem as problem:
            message = problem.message.replace(f"{stage}/cameras/", "")
            raise problem.reworded(message, problem.hint) from None
    try:
        manifest = open_bundle_to_run(present.bundle, present.keys, present.state_folder).manifest
    except Problem:
        return  # whoever applies the request says so
    RuleSet(draft, manifest)


def main() -> None:
    """Ends with 1 and the reason on stderr if it would not."""
    try:
        _load(Path(sys.argv[1]), sys.argv[2], sys.stdin.buffer.read())
    except Problem as problem:
        sys.stderr.write(f"{problem.message}\n{problem.hint}\n" if problem.hint else f"{problem.message}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
