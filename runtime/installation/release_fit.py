"""Whether a release fits a camera, and whether it is to blame for a start that failed.

The keyring, the broker and the lines of a camera's file are the same for the release on probation and for the one
before it. So the new one is to blame only if the one before fits the camera as it is set up now.
"""

from __future__ import annotations

from ..bundle.bundle import Bundle
from ..bundle.keys import Keyring
from ..bundle.local_recalibration import open_bundle
from ..bundle.manifest import Manifest
from ..camera.motion_gate import check_bundle_allows_gate
from ..config.configuration import Config
from ..errors import BundleProblem, ConfigProblem, Problem, locate_errors
from ..inference.heads import load_head
from ..line.judgement import Judge
from ..rules.rule_set import RuleSet
from ..tracking.tracker import Tracker
from .model_store import ModelStore


def check_rules(settings: Config, manifest: Manifest) -> None:
    """Raises what the daemon of a camera would raise if its rules, or the thresholds of its line, did not fit the
    bundle, say a label it lacks.

    Args:
        settings: of the camera; with `[[products]]` those of the product alone
        manifest: of the bundle
    """
    with locate_errors(settings.camera_file):
        load_head(manifest, Tracker(settings.tracker, manifest.decision_threshold).low_threshold)
        RuleSet(settings, manifest)
        check_bundle_allows_gate(settings.gate, manifest)
        if settings.trigger is not None:
            Judge(settings.trigger, manifest)


def is_release_to_blame(problem: Problem, settings: Config, release: int, previous: int) -> bool:
    """Whether a start ended with this problem because of the release, so that the one before it would start.

    Args:
        problem: ended the start
        settings: configuration of the camera, which runs an installed product
        release: the one on probation
        previous: the one before it
    """
    if not isinstance(problem, BundleProblem | ConfigProblem) or not _fits(settings, previous):
        return False
    return isinstance(problem, BundleProblem) or not _fits(settings, release)


def _fits(settings: Config, release: int) -> bool:
    """Whether a trusted key signed a release, and the camera's file is right for it; its models are not tried."""
    path = ModelStore(settings.state).release_path(settings.installed, release)
    try:
        manifest = open_bundle(path, Keyring.read(settings.keys)).manifest
        check_rules(settings, manifest)
    except Problem:
        return False
    return settings.backend in ("auto", *manifest.models)


class CurrentRelease:
    """Which release of an installed product a daemon should run.

    The folder of a release has its number as its name. Somebody may have overwritten the file in it with another
    release: that one runs, and its folder's name is no reason to start again.

    Args:
        settings: configuration of a camera
        running: the bundle that its daemon runs
    """

    def __init__(self, settings: Config, running: Bundle) -> None:
        self.store, self.name, self.keys = ModelStore(settings.state), settings.installed, settings.keys
        self.running = running
        self.same: tuple[int, int, int] | None = None
        """Number of the folder, and inode and time of change of its file, if that is the running bundle."""

    def find_other(self) -> int | None:
        """The current release if it is not the bundle that runs; None: it is, or none is current."""
        current = self.store.find_model(self.name).current if self.name else None
        if current in (None, self.running.manifest.release):
            return None
        assert current is not None
        path = self.store.bundle_path(self.name)
        try:
            found = path.stat()
            state = current, found.st_ino, found.st_mtime_ns
            if state != self.same:
                if Bundle.open(path, Keyring.read(self.keys)).manifest_sha256 != self.running.manifest_sha256:
                    return current
                self.same = state
        except (OSError, Problem):  # the next start tells what is wrong
            return current
        return None

    def describe_overwritten(self) -> str:
        """What to tell a user who overwrote a file of the store; empty: the running release was installed."""
        current = self.store.find_model(self.name).current if self.name else None
        release = self.running.manifest.release
        if current in (None, release) or self.find_other() is not None:
            return ""
        path = self.store.bundle_path(self.name)
        return (
            f"{path.parent.resolve() / path.name} was overwritten: release {release} runs in place of {current}, on no "
            "probation and without a way back; vedette install BUNDLE gives both"
        )
