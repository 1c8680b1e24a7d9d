"""The release before this build: opened, verified, and run as on the device."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.keys import Keyring
from vedette.runtime.camera import image_files
from vedette.runtime.errors import UNREADABLE, ConfigProblem
from vedette.runtime.inference.backends.onnx import OnnxBackend
from vedette.runtime.inference.heads import load_head
from vedette.runtime.inference.pipeline import InferencePipeline

from ..goal.goal_tables import Goal

FITTED_PURPOSES = ("fit", "calibrate", "threshold", "known")


class PreviousRelease:
    """A verified bundle of the same product."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.threshold = bundle.manifest.threshold

    @property
    def fitted_images(self) -> frozenset[str] | None:
        """Names of the images that it was made with, as its report has them; None if its report does not tell."""

        class SplitField(msgspec.Struct):
            split: dict[str, list[str]]

        try:
            split = msgspec.json.decode(self.bundle.members.get("report.json", b""), type=SplitField).split
        except UNREADABLE:
            return None
        return frozenset(name for purpose in FITTED_PURPOSES for name in split.get(purpose, ()))

    def score(self, paths: Iterable[Path]) -> NDArray[Any]:
        """The scores that the device gives these images; an anomaly model's, int8 ONNX."""
        manifest = self.bundle.manifest
        backend = OnnxBackend(self.bundle.model("onnx"), manifest, threads=1)
        pipeline = InferencePipeline(self.bundle, backend, load_head(manifest))
        scores = []
        for number, path in enumerate(paths):
            predictions = pipeline.predict(float(number), image_files.read_image(path))
            assert predictions is not None  # only behaviour models wait for frames
            scores.append(predictions[0].score)
        return np.array(scores)


def open_previous(path: Path | None, key: Ed25519PrivateKey, goal: Goal) -> tuple[PreviousRelease | None, Goal]:
    """The previous release, if there is one, and the goal with a release number above it.

    Args:
        path: its bundle; None: there is none
        key: the key that signs the new release; it is trusted beside the keyrings of this machine
        goal: the goal of the new release

    Raises:
        BundleProblem: the bundle was altered, or its signer is not trusted here.
        ConfigProblem: it is of another product.
    """
    if path is None:
        return None, goal
    bundle = Bundle.open(path, Keyring.read().with_signer(key))
    manifest = bundle.manifest
    if (manifest.name, manifest.task) != (goal.name, goal.task):
        found = f"it is {manifest.name} of the task {manifest.task}"
        hint = "a previous release has the name and the task of the goal file"
        raise ConfigProblem(f"--previous {path}: {found}, the goal names {goal.name}, {goal.task}", hint=hint)
    return PreviousRelease(bundle), msgspec.structs.replace(goal, release=max(goal.release, manifest.release + 1))
