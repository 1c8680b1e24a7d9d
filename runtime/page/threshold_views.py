"""Threshold: the scores of this box beside the workshop's, and what another threshold would have done."""

from __future__ import annotations

import asyncio
from math import isfinite
from typing import Annotated, Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from ..calibration.drift import DriftFigures
from ..config.camera_products import list_product_settings, product_index
from ..config.configuration import Config
from ..errors import Problem
from ..live.product_scores import find_score_folder
from ..live.scores import Scores, read_scores
from ..live.threshold_replay import replay_threshold
from ..live.workshop_scores import WorkshopScores, read_workshop_scores
from ..monitoring.status import StatusReport, request_status
from .camera_text import PRESENCE, set_part_threshold, set_threshold
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
    """The first rule `presence`, if the threshold is its own."""
    product: Config
    """The settings that the camera would have with the chosen product alone."""

    @property
    def is_line(self) -> bool:
        """Whether the threshold is that of the parts of a line."""
        return self.product.trigger is not None and self.rule is None

    @property
    def threshold(self) -> float | None:
        """That of the rule or of the line, otherwise the bundle's; None: unknown yet."""
        if self.rule is not None and (own := self.rule.get("threshold")) is not None:
            return float(own)
        if self.is_line and self.product.trigger is not None and self.product.trigger.threshold is not None:
            return self.product.trigger.threshold
        if self.workshop is not None:
            return self.workshop.threshold
        return self.scores.thresholds[int(self.scores.model[-1])] if len(self.scores) else None


def _choose_product(request: Request, config: Config) -> Config:
    """The settings with the product that the query of a request names by its index; by default the first one."""
    products, wanted = list_product_settings(config), request.query_params.get("product", "")
    if not wanted:
        return products[0]
    chosen = next((each for each in products if wanted == str(product_index(each))), None)
    if chosen is None:
        raise HTTPException(404)
    return chosen


def _read(config: Config, product: Config) -> _Known:
    folder = find_score_folder(config, product_index(product))
    workshop, scores = read_workshop_scores(folder), read_scores(folder)
    if workshop is not None:
        scores = scores.of_model(workshop.model)
    elif len(scores):
        scores = scores.of_model(scores.models[int(scores.model[-1])])
    return _Known(workshop, scores, _find_rule(config), product)


async def show_threshold(request: Request) -> Response:
    """The view of one camera; without a name the first camera's."""
    names = context_of(request).cameras()
    if "camera" not in request.path_params:
        return RedirectResponse(f"/threshold/{names[0]}", 303) if names else render(request, "no_camera.html")
    config, _ = await find_camera(request), translation_of(request)
    product = _choose_product(request, config)
    known = await asyncio.to_thread(_read, config, product)
    good = known.workshop.good if known.workshop is not None else None
    now = known.threshold
    scale = None if now is None else make_scale(known.scores.score, good, now)
    report = await asyncio.to_thread(_ask_status, config)
    drift = _drift_of(report, product if config.products else None)
    products = [(product_index(each), each.trigger.product) for each in list_product_settings(config) if each.trigger]
    return render(
        request,
        "threshold.html",
        camera=config.camera,
        known=known,
        good=good,
        now=now,
        scale=scale,
        products=products if len(products) > 1 else (),
        product=product_index(product),
        drift=_describe_drift(report is not None, drift, bool(config.region), _),
        drifted=drift is not None and drift.drifted,
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
    known = await asyncio.to_thread(_read, config, _choose_product(request, config))
    return JSONResponse(await asyncio.to_thread(_describe_threshold, known, threshold, _))


async def change_threshold(request: Request) -> Response:
    """The difference in the camera's file, or, if the user has seen it, the request to change it."""
    config, _ = await find_camera(request), translation_of(request)
    wish = await read_wish(request, _Wish)
    if wish is None:
        return JSONResponse({"message": _("That is no threshold.")}, 400)
    try:
        before = await asyncio.to_thread(read_camera_text, config)
        after = _set_threshold(before, wish.threshold, config, _choose_product(request, config))
    except Problem as problem:
        return describe_problem(problem)
    return await answer_change(request, config, before, after, wish.before if wish.save else None)


def _set_threshold(text: str, threshold: float, config: Config, product: Config) -> str:
    if product.trigger is None or _find_rule(config) is not None:
        return set_threshold(text, threshold)
    return set_part_threshold(text, threshold, product_index(product) if config.products else None)


def _find_rule(config: Config) -> dict[str, Any] | None:
    """The first rule `presence`; None: there is none, or each product has a threshold of its own."""
    return None if config.products else next((rule for rule in config.rules if rule.get("use") == PRESENCE), None)


def _describe_threshold(known: _Known, threshold: float, _: Translation) -> dict[str, str]:
    if known.is_line:
        return _describe_parts(known, threshold, _) | _describe_budget(known, threshold, _)
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
    return {"alarms": alarms, "note": note} | _describe_budget(known, threshold, _)


def _describe_parts(known: _Known, threshold: float, _: Translation) -> dict[str, str]:
    """How many parts of the last day score as high. An entry of the history has the first one of its five seconds."""
    samples = len(known.scores)
    if not samples:
        note = _("No scores of this model yet. The daemon writes them every five minutes.")
        return {"alarms": "–", "note": note}
    above = int((known.scores.score >= threshold).sum())
    share = format_plain(1000 * above / samples, 2)
    note = _(
        "%(above)s of %(samples)s parts that were kept: the first in each five seconds.", above=above, samples=samples
    )
    return {"alarms": _("%(number)s of 1,000 parts", number=share), "note": note}


def _describe_budget(known: _Known, threshold: float, _: Translation) -> dict[str, str]:
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
    return {"budget": budget, "source": source}


def _ask_status(config: Config) -> StatusReport | None:
    try:
        return request_status(config.state_folder)
    except (Problem, OSError):
        return None


def _drift_of(report: StatusReport | None, product: Config | None) -> DriftFigures | None:
    """The drift of a camera, or of one of several products."""
    if report is None or product is None or report.line is None:
        return None if report is None else report.drift
    return next((each.drift for each in report.line.products if each.index == product_index(product)), None)


def _describe_drift(answers: bool, drift: DriftFigures | None, has_region: bool, _: Translation) -> str:
    if has_region and drift is None:
        return _(
            "This camera has a region of interest: its scores can only be lower than those of the whole picture, "
            "so they are not compared with the workshop's."
        )
    if not answers:
        return _("The daemon does not answer, so nothing is known about drift.")
    if drift is None or not drift.samples:
        return _("Nothing is known about drift yet.")
    text = describe_shares(drift, _)
    if drift.drifted:
        advice = _("Find out what changed (light, lens, position), or recalibrate, before you move the threshold.")
        return f"{_('The scores of this box have left the band of the workshop:')} {text}. {advice}"
    return f"{_('It is not proven that the scores of this box have left the band of the workshop:')} {text}."
