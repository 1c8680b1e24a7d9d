"""The rules of one camera: loaded from its configuration file, and reloaded on SIGHUP."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from ..bundle.manifest import UNKNOWN, Manifest
from ..config.configuration import Config
from ..errors import ConfigProblem, locate_errors
from ..inference.region_of_interest import check_region
from . import Rule, RuleContext, load_rule


class RuleSet:
    """All rules of a camera, in the order of its configuration file.

    Raises:
        ConfigProblem: a rule is unknown, has a wrong setting, or has the name of another rule; or the bundle cannot
            have the camera's region.
    """

    def __init__(self, settings: Config, manifest: Manifest) -> None:
        check_region(settings.region, manifest)
        self.context = _make_context(settings, manifest)
        self.tables: Sequence[dict[str, Any]] = settings.rules
        self.rules = _load_rules(settings.rules, self.context)

    def __iter__(self) -> Iterator[Rule]:
        return iter(self.rules)

    @property
    def needs_tracks(self) -> bool:
        """True if a rule needs tracks: which detections belong to one object."""
        return any(rule.needs_tracks for rule in self.rules)

    def reload(self, tables: Sequence[dict[str, Any]]) -> RuleSet:
        """Makes the rule set of `tables`. It shares unchanged rules, with their state and their open events.

        The caller closes the rules that are not shared.

        Raises:
            ConfigProblem: a rule is wrong, as for the constructor; this rule set is not changed.
        """
        reloaded = copy.copy(self)
        loaded = _load_rules(tables, self.context)
        present = zip(self.tables, self.rules, strict=True)
        unchanged = {rule.name: rule for table, rule in present if table in tables}
        reloaded.tables = tables
        reloaded.rules = [unchanged.get(rule.name, rule) for rule in loaded]
        return reloaded


def _make_context(settings: Config, manifest: Manifest) -> RuleContext:
    return RuleContext(
        camera=settings.camera,
        model=manifest.model_id,
        threshold=manifest.decision_threshold,
        labels=manifest.labels,
        normal_labels=(*manifest.normal, UNKNOWN),
        has_boxes=manifest.task != "classify",
        timezone=settings.device.timezone,
        max_lost_seconds=settings.tracker.keep,
    )


def _load_rules(tables: Sequence[dict[str, Any]], context: RuleContext) -> list[Rule]:
    loaded: list[Rule] = []
    for number, table in enumerate(tables):
        place = f"rules[{number}]"
        rule = _load_rule(place, table, context)
        if rule.name in [other.name for other in loaded]:
            hint = "give each rule a unique name"
            raise ConfigProblem(f"{place}: a second rule named {rule.name!r}", hint=hint)
        loaded.append(rule)
    return loaded


def _load_rule(place: str, table: dict[str, Any], context: RuleContext) -> Rule:
    try:
        with locate_errors(place):
            return load_rule(table, context)
    except msgspec.ValidationError as error:
        raise ConfigProblem(f"{place}: {error}", hint="docs/config.md lists each rule's keys") from None
