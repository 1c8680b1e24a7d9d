"""Threshold: the scores of this box beside the workshop's, and what another threshold would have done."""

from __future__ import annotations

import asyncio
from math import isfinite
from typing import Annotated, Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from ..config.configuration import Config
from ..errors import Problem
from ..live.scores import Scores, read_scores
from ..live.threshold_replay import replay_threshold
from ..live.workshop_scores import WorkshopScores, read_workshop_scores
from ..monitoring.status import StatusReport, request_status
from .camera_text import PRESENCE, set_threshold
from .change_views import answer_change, describe_problem, read_camera_text, words_of_changes
from .change_words import describe_undo
from .health_words import describe_shares
from .page_context import context_of, find_camera, read_wish, render, translation_of
from .page_undo import find_undo
from .plain_number import format_plain
from .threshold_scale import is_extrapolated, make_scale
from .translation import Translation


class _Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    threshold: Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]
    save: bool
    before: str = ""


class _Known(msgspec.Struct, frozen=True, eq=False):
    """What the box knows of one camera."""

    workshop: WorkshopScores | None
    scores: Scores
    """Of the model that runs."""
    rule: dict[str, Any] | None
    """The first rule `presence`."""

    @property
    def threshold(self) -> float | None:
        """That of the rule, otherwise the bundle's; None: unknown yet."""
        if self.rule is not None and (own := self.rule.get("threshold")) is not None:
            return float(own)
        if self.workshop is not None:
            return self.workshop.threshold
        return self.scores.thresholds[int(self.scores.model[-1])] if len(self.scores) else None


def _read(config: Config) -> _Known:
    workshop, scores = read_workshop_scores(config.state_folder), read_scores(config.state_folder)
    if workshop is not None:
        scores = scores.of_model(workshop.model)
    elif len(scores):
        scores = scores.of_model(scores.models[int(scores.model[-1])])
    rule = next((rule for rule in config.rules if rule.get("use") == PRESENCE), None)
    return _Known(workshop, scores, rule)


async def show_threshold(request: Request) -> Response:
    """The view of one camera; without a name the first camera's."""
    names = context_of(request).cameras()
    if "camera" not in request.path_params:
        return RedirectResponse(f"/threshold/{names[0]}", 303) if names else render(request, "no_camera.html")
    config, _ = await find_camera(request), translation_of(request)
    known = await asyncio.to_thread(_read, config)
    good = known.workshop.good if known.workshop is not None else None
    now = known.threshold
    scale = None if now is None else make_scale(known.scores.score, good, now)
    report = await asyncio.to_thread(_ask_status, config)
    return render(
        request,
        "threshold.html",
        camera=config.camera,
        known=known,
        good=good,
        now=now,
        scale=scale,
        drift=_describe_drift(report, bool(config.region), _),
        drifted=report is not None and report.drift is not None and report.drift.drifted,
        texts=words_of_changes(_),
        undo_text=describe_undo(await asyncio.to_thread(find_undo, config), config.camera_file.name, _),
    )


async def show_replay(request: Request) -> Response:
    """What a threshold would have done, in words."""
    config, _ = await find_camera(request), translation_of(request)
    try:
        threshold = float(request.query_params.get("value", ""))
    except ValueError:
        raise HTTPException(400) from None
    if not isfinite(threshold):
        raise HTTPException(400)
    known = await asyncio.to_thread(_read, config)
    return JSONResponse(await asyncio.to_thread(_describe_threshold, known, threshold, _))


async def change_threshold(request: Request) -> Response:
    """The difference in the camera's file, or, if the user has seen it, the request to change it."""
    config, _ = await find_camera(request), translation_of(request)
    wish = await read_wish(request, _Wish)
    if wish is None:
        return JSONResponse({"message": _("That is no threshold.")}, 400)
    try:
        before = await asyncio.to_thread(read_camera_text, config)
        after = set_threshold(before, wish.threshold)
    except Problem as problem:
        return describe_problem(problem)
    return await answer_change(request, config, before, after, wish.before if wish.save else None)


def _describe_threshold(known: _Known, threshold: float, _: Translation) -> dict[str, str]:
    rule = known.rule or {}
    replayed = replay_threshold(known.scores, threshold, rule.get("hysteresis", 0.1), rule.get("cooldown", 0.0))
    if not len(known.scores):
        alarms, note = "–", _("No scores of this model yet. The daemon writes them every five minutes.")
    elif replayed.per_hour is None:
        alarms = _("%(number)s in %(minutes)s min", number=replayed.alarms, minutes=round(60 * replayed.hours))
        note = _("Less than an hour was watched. That says too little for a rate.")
    else:
        alarms = _("%(rate)s per hour", rate=format_plain(replayed.per_hour, 2))
        note = _("%(number)s in the last %(hours)s h", number=replayed.alarms, hours=format_plain(replayed.hours))
    good = known.workshop.good if known.workshop is not None else None
    if good is None:
        budget, source = _("unknown"), _("The bundle does not say how its good parts scored.")
    else:
        rate = good.p_value(threshold)
        budget = _("%(number)s of 1,000 good parts", number=format_plain(1000 * rate, 2))
        source = _("Measured on %(number)s good images of the workshop.", number=good.images)
        if is_extrapolated(good, threshold):
            source = _(
                "None of the workshop's %(number)s good images scored so high: this is an extrapolation.",
                number=good.images,
            )
    return {"alarms": alarms, "note": note, "budget": budget, "source": source}


def _ask_status(config: Config) -> StatusReport | None:
    try:
        return request_status(config.state_folder)
    except (Problem, OSError):
        return None


def _describe_drift(report: StatusReport | None, has_region: bool, _: Translation) -> str:
    if has_region and (report is None or report.drift is None):
        return _(
            "This camera has a region of interest: its scores can only be lower than those of the whole picture, "
            "so they are not compared with the workshop's."
        )
    if report is None:
        return _("The daemon does not answer, so nothing is known about drift.")
    if (drift := report.drift) is None or not drift.samples:
        return _("Nothing is known about drift yet.")
    text = describe_shares(drift, _)
    if drift.drifted:
        advice = _("Find out what changed (light, lens, position), or recalibrate, before you move the threshold.")
        return f"{_('The scores of this box have left the band of the workshop:')} {text}. {advice}"
    return f"{_('It is not proven that the scores of this box have left the band of the workshop:')} {text}."
