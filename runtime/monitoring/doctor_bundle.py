"""`vedette doctor` opens the bundle and the rules of a camera in the order in which the daemon does."""

from __future__ import annotations

from ..bundle.keys import UnknownSigner
from ..bundle.release_memory import open_bundle_to_run
from ..camera.motion_gate import check_bundle_allows_gate
from ..camera.privacy_warnings import describe_zone_difference
from ..config.camera_products import list_product_settings
from ..config.configuration import Config
from ..config.time_zone import load_timezone
from ..errors import Problem, locate_errors
from ..inference.golden_outputs import select_backend
from ..inference.heads import load_head
from ..inference.region_of_interest import describe_region_difference
from ..line.judgement import Judge
from ..redaction import redact
from ..rules.rule_set import RuleSet
from ..tracking.tracker import Tracker
from .doctor_check import Check


def check_bundle(settings: Config) -> list[Check]:
    """The bundle with its signature, its back end with the golden outputs, and the rules; the first failure ends it.

    So it is with each of `[[products]]`.
    """
    if not settings.products:
        return _check_bundle(settings, settings.camera)
    names = [f"{settings.camera} {each.settings.name}" for each in settings.products]
    checks = [_check_bundle(*each) for each in zip(list_product_settings(settings), names, strict=True)]
    return [check for product in checks for check in product]


def _check_bundle(settings: Config, name: str) -> list[Check]:
    what = f"{name} bundle"
    checks: list[Check] = []
    try:
        bundle = open_bundle_to_run(settings.bundle, settings.keys, settings.state_folder)
        manifest = bundle.manifest
        load_head(manifest, Tracker(settings.tracker, manifest.decision_threshold).low_threshold)
        with locate_errors(settings.device_file):
            load_timezone(settings.device.timezone)
        with locate_errors(settings.camera_file):
            backend = select_backend(bundle, settings.backend, settings.threads)
        checks.append(Check(what, True, f"{manifest.model_id}, signed by {manifest.signer}, on {backend.version}"))
        what = f"{name} rules"
        with locate_errors(settings.camera_file):
            rules = RuleSet(settings, manifest)
            check_bundle_allows_gate(settings.gate, manifest)
            if settings.trigger is not None:
                Judge(settings.trigger, manifest)
        checks.append(Check(what, True, ", ".join(rule.name for rule in rules)))
    except Problem as problem:
        signer = problem.signer if isinstance(problem, UnknownSigner) else ""
        return [*checks, Check(what, False, redact(problem.message), redact(problem.hint), signer)]
    if warning := describe_zone_difference(settings.privacy, manifest):
        checks.append(Check(f"{name} privacy", None, warning))
    if warning := describe_region_difference(settings.region, manifest):
        checks.append(Check(f"{name} region", None, warning))
    return checks
