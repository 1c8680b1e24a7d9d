"""Events: the list, one event, its picture, what people say about it, and the export."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

import msgspec
from PIL import Image
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from ..config.configuration import Config
from ..errors import ConfigProblem
from ..events.part_events import RULE
from ..evidence.reviews import Review, Verdict
from ..evidence.store import CLIP_SUFFIXES, GOOD_SUFFIX, HEAT_SUFFIX, PICTURE_SUFFIXES
from ..evidence.upload import MEDIA_TYPES
from .event_export import MAX_EVENTS, export_as_csv, export_as_json
from .event_records import EventFilter, EventReader, EventRecord
from .event_words import describe_event, describe_measurement, rule_uses
from .page_context import BY_PAGE, context_of, find_camera, read_wish, render, translation_of

PAGE_EVENTS = 24
_EVIDENCE = {
    "picture": PICTURE_SUFFIXES,
    "mp4": CLIP_SUFFIXES,
    "heat": (HEAT_SUFFIX,),
    "good": (GOOD_SUFFIX,),
}
"""Endings of the files by the ending of the address."""


class _Judgment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    verdict: Verdict
    label: str = ""


def _read_filter(request: Request) -> EventFilter:
    query = request.query_params
    try:
        before = float(query.get("before", "0"))
    except ValueError:
        before = 0.0
    names = ("camera", "rule", "label", "verdict")
    return EventFilter(**{name: query.get(name, "")[:100] for name in names}, before=before)


def _list_events(cameras: dict[str, Config], wanted: EventFilter, limit: int) -> list[EventRecord]:
    found: list[EventRecord] = []
    for name, config in cameras.items():
        if wanted.camera in ("", name):
            found += EventReader.from_config(config).list_events(wanted, limit)
    return sorted(found, key=lambda record: -record.started)[:limit]


async def show_events(request: Request) -> Response:
    """The newest events, filtered."""
    wanted, cameras = _read_filter(request), context_of(request).loadable_cameras()
    records = await asyncio.to_thread(_list_events, cameras, wanted, PAGE_EVENTS + 1)
    chosen = {name: getattr(wanted, name) for name in ("camera", "rule", "label", "verdict") if getattr(wanted, name)}
    older = ""
    if len(records) > PAGE_EVENTS:
        records = records[:PAGE_EVENTS]
        older = urlencode(chosen | {"before": repr(records[-1].started)})
    uses = {name: rule_uses(config) for name, config in cameras.items()}
    parts = {RULE for config in cameras.values() if config.trigger is not None}
    rules = sorted(parts.union(*uses.values()))
    labels = sorted({record.label for record in records if record.label} | ({wanted.label} - {""}))
    _ = translation_of(request)
    return render(
        request,
        "events.html",
        records=records,
        sizes=await asyncio.to_thread(_picture_sizes, cameras, records),
        why=lambda record: (
            describe_measurement(record, _) or describe_event(record, uses[record.camera].get(record.rule, ""), _)
        ),
        wanted=wanted,
        query=urlencode(chosen),
        older=older,
        rules=rules,
        labels=labels,
    )


async def _reader(request: Request) -> EventReader:
    return EventReader.from_config(await find_camera(request))


def _picture_sizes(cameras: dict[str, Config], records: list[EventRecord]) -> dict[str, tuple[int, int]]:
    """Width and height of the pictures that show the whole frame, by event: what a box is drawn on."""
    sizes = {}
    for record in records:
        if record.has_picture and record.shows_whole_frame and record.boxes:
            reader = EventReader.from_config(cameras[record.camera])
            path = reader.evidence_file(record.event, PICTURE_SUFFIXES)
            with contextlib.suppress(OSError), Image.open(path or "") as picture:
                sizes[record.event] = picture.size
    return sizes


async def show_event(request: Request) -> Response:
    """One event with everything that is stored about it."""
    config, _ = await find_camera(request), translation_of(request)
    reader = EventReader.from_config(config)
    record = await asyncio.to_thread(reader.find_event, request.path_params["event"])
    if record is None:
        raise HTTPException(404)
    around = partial(_neighbours, reader, record)
    newer, older = await asyncio.to_thread(around)
    why = describe_event(record, rule_uses(config).get(record.rule, ""), _)
    return render(request, "event.html", record=record, newer=newer, older=older, why=why)


def _neighbours(reader: EventReader, record: EventRecord) -> tuple[str, str]:
    """The events of the same camera after and before one, for the keys j and k; empty: there is none."""
    older = reader.list_events(EventFilter(before=record.started), 1)
    events = [each.event for each in reader.list_events(EventFilter(), 200)]
    place = events.index(record.event) if record.event in events else 0
    return events[place - 1] if place > 0 else "", older[0].event if older else ""


async def show_evidence(request: Request) -> Response:
    """The picture of an event, its clip, its heat map, or the most similar good part."""
    reader, suffixes = await _reader(request), _EVIDENCE.get(request.path_params["suffix"], ())
    path: Path | None = reader.evidence_file(request.path_params["event"], suffixes)
    if path is None:
        raise HTTPException(404)
    headers = {"Cache-Control": "private, max-age=86400, immutable"}
    name = path.name if suffixes == CLIP_SUFFIXES else None
    return FileResponse(path, media_type=MEDIA_TYPES[path.suffix], headers=headers, filename=name)


async def judge_event(request: Request) -> Response:
    """Stores what a person says about an event."""
    reader, event, _ = await _reader(request), request.path_params["event"], translation_of(request)
    judgment = await read_wish(request, _Judgment)
    if judgment is None:
        return JSONResponse({"message": _("That is no verdict.")}, 400)
    if await asyncio.to_thread(reader.find_event, event) is None:
        return JSONResponse({"message": _("This event is not stored any more.")}, 404)
    review = Review(event, reader.camera, judgment.verdict, judgment.label.strip(), BY_PAGE, time.time())
    try:
        await asyncio.to_thread(reader.reviews.add, review)
    except ConfigProblem as problem:
        return JSONResponse({"message": problem.message}, 400)
    return JSONResponse({"verdict": review.verdict, "label": review.label})


async def export_events(request: Request) -> Response:
    """The filtered events as a file."""
    form = request.path_params["form"]
    if form not in ("csv", "json"):
        raise HTTPException(404)
    wanted, cameras = _read_filter(request), context_of(request).loadable_cameras()
    records = await asyncio.to_thread(_list_events, cameras, wanted, MAX_EVENTS)
    device = re.sub(r"[^A-Za-z0-9_.-]", "-", context_of(request).device)
    headers = {"Content-Disposition": f'attachment; filename="{device}-events.{form}"'}
    if form == "csv":
        return Response(export_as_csv(records), media_type="text/csv", headers=headers)
    return Response(export_as_json(records), media_type="application/json", headers=headers)
