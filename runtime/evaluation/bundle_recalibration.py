"""Recalibration of a bundle from good images of the place where it runs, with the daemon's own code."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ..bundle.bundle import Bundle, pack_signed_bundle
from ..bundle.manifest import Manifest
from ..calibration.recalibration import Recalibration, ScoreScale, recalibrate
from ..camera import image_files
from ..config.polygon import Polygon
from ..errors import BundleProblem, ConfigProblem
from ..inference.golden_outputs import select_backend
from ..inference.region_of_interest import check_region
from ..progress import Progress, no_progress
from .bundle_verification import score_images

FALSE_ALARM_RATE = 0.01  # where neither the user nor the bundle names one


class RecalibrationResult(msgspec.Struct, frozen=True):
    """What was set anew, and from what."""

    recalibration: Recalibration
    copies: int
    """Images that were left out because another one has the same bytes."""
    high: tuple[str, ...]
    """Images at or above the threshold of the build, moved by the offset: they may not be good."""


def recalibrate_bundle(
    bundle: Bundle,
    paths: Iterable[Path],
    target_rate: float | None = None,
    progress: Progress = no_progress,
    region: Polygon = (),
) -> RecalibrationResult:
    """Scores good images, and sets threshold and offset anew. An earlier recalibration does not count.

    Args:
        bundle: a verified bundle
        paths: images of good parts, each of another part, and folders of such images
        target_rate: share of good parts that may raise an alarm; None: that of the build
        progress: shows the progress of the loop over the images
        region: the region of interest of the camera; empty: the whole frame

    Raises:
        BundleProblem: the bundle is no anomaly model, or no back end reproduces its golden outputs.
        ConfigProblem: there is no image, one cannot be read, or the bundle cannot have this region.
    """
    manifest = bundle.manifest
    if manifest.task != "anomaly":
        hint = "build the bundle again, with images of the new place"
        raise BundleProblem(f"{bundle.path}: task {manifest.task} cannot be recalibrated", hint=hint)
    threshold, built_rate = _build_threshold(manifest)
    check_region(region, manifest)
    files, copies = _distinct_images(paths)
    plain_manifest = msgspec.structs.replace(manifest, recalibrated=None, threshold=threshold)
    plain = Bundle(bundle.path, plain_manifest, bundle.members, bundle.manifest_sha256)
    backend = select_backend(plain, "auto", 1)
    output = manifest.output("score")
    integers = [
        round(score / output.scale)
        for score in score_images(plain, backend, progress(files, f"{manifest.name}: good"), region)
    ]
    scores = output.scale * np.array(integers, float)
    recalibration = recalibrate(
        scores,
        ScoreScale(output.scale, output.highest),
        plain_manifest.good_scores,
        built_rate if target_rate is None else target_rate,
        datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ"),
        region,
    )
    limit = threshold + recalibration.offset
    high = tuple(str(path) for path, score in zip(files, scores, strict=True) if score >= limit)
    return RecalibrationResult(recalibration, copies, high)


def sign_recalibrated(bundle: Bundle, recalibration: Recalibration, key: Ed25519PrivateKey) -> tuple[Manifest, bytes]:
    """The next release of the bundle, recalibrated: its signed manifest, and its bytes. All other members stay."""
    manifest = msgspec.structs.replace(
        bundle.manifest,
        release=bundle.manifest.release + 1,
        threshold=recalibration.threshold,
        recalibrated=recalibration,
        local_digest="",
        downgrade_from=None,
    )
    return pack_signed_bundle(manifest, bundle.members, key)


def _build_threshold(manifest: Manifest) -> tuple[float, float]:
    """The threshold of the build, and the false-alarm rate that it was chosen for."""
    facts = manifest.measured.get("threshold", {})
    own = manifest.threshold if manifest.recalibrated is None else manifest.recalibrated.threshold
    return float(facts.get("score", own)), float(facts.get("wished", FALSE_ALARM_RATE))


def _distinct_images(paths: Iterable[Path]) -> tuple[list[Path], int]:
    """The images, without those that have the bytes of an earlier one, and the number of those."""
    files: dict[str, Path] = {}
    count = 0
    for path in paths:
        for file in image_files.find_images(path) if path.is_dir() else [path]:
            try:
                digest = hashlib.sha256(file.read_bytes()).hexdigest()
            except OSError as error:
                raise ConfigProblem(f"{file}: {error.strerror}", hint="name images of good parts, or folders") from None
            files.setdefault(digest, file)
            count += 1
    return list(files.values()), count - len(files)
