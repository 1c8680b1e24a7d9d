"""Hostile archives of feedback, tables of scores and of corrections, and copies of a box's state.

None of them may end in a traceback, or make the workshop read, write or remove a file elsewhere.
"""

from __future__ import annotations

import io
import json
import random
import tarfile
import tempfile
import traceback
from collections import Counter
from pathlib import Path

from file_inputs import Keep
from mutations import mutate, random_of

from vedette.compress.evaluation.score_log_threshold import choose_from_log, read_score_log
from vedette.deploy.feedback.corrections_folder import merge_feedback, read_table
from vedette.deploy.feedback.feedback_archive import read_archive
from vedette.deploy.feedback.state_search import search_folders
from vedette.runtime.bundle.manifest import ModelOutput
from vedette.runtime.errors import Problem

EVENT = "01a22670-1150-7362-b61a-5a6c5fbfc85f"
MODEL = "cells:1:0123abcd"
_NAMES = (
    "../outside.jpg",
    "/etc/passwd",
    "a/../../outside.jpg",
    f"{EVENT}.jpg",
    f"{EVENT}\n.jpg",
    "x.png",
    "",
    "\0",
    ".",
)
_TIMES = ("100", "1e308", "-1e308", "nan", "inf", "0001-01-01T00:00:00", "9999-12-31T23:59:59+14:00", "x", "", "1e17")
_ODD = (None, -1, 0, 1e308, 2**70, "", "x", "\n", "../x", [], {}, [[]] * 20, True, "é" * 300, "\x00")


def fuzz_feedback(numbers: range, keep: Keep) -> Counter[str]:
    """Counts what becomes of hostile feedback."""
    counts = Counter[str]()
    with tempfile.TemporaryDirectory() as place:
        for number in numbers:
            rng, folder = random_of("feedback", number), Path(place, str(number))
            (folder / "in").mkdir(parents=True)
            outside = folder / "outside.jpg"
            outside.write_bytes(b"not yours")
            kind = rng.choice((_try_archive, _try_archive, _try_scores, _try_corrections, _try_state))
            content = b""
            try:
                content = _make_input(kind, rng)
                kind(content, folder)
                outcome = f"{kind.__name__[5:]} taken"
            except Problem as problem:
                outcome = f"{kind.__name__[5:]} refused, exit {problem.code}"
            except Exception:  # noqa: BLE001  # what the fuzzing looks for
                outcome = "traceback"
                keep("feedback", number, content, f"{kind.__name__}\n{traceback.format_exc()}")
            strange = [path for path in folder.iterdir() if path.name not in ("in", "out", "outside.jpg")]
            copied = any(b"not yours" in path.read_bytes() for path in (folder / "out").rglob("*") if path.is_file())
            if strange or copied or not outside.exists() or outside.read_bytes() != b"not yours":
                outcome = "traceback: touches files elsewhere"
                keep("feedback", number, content, f"{kind.__name__}: {strange}")
            counts[outcome] += 1
    return counts


def _make_input(kind: object, rng: random.Random) -> bytes:
    if kind is _try_archive:
        return _make_archive(rng)
    text = _make_scores(rng) if kind is _try_scores else _make_reviews(rng) if kind is _try_state else _make_table(rng)
    return mutate(rng, text) if rng.random() < 0.3 else text


def _try_archive(content: bytes, folder: Path) -> None:
    merge_feedback(read_archive(io.BytesIO(content), "x"), folder / "out")
    merge_feedback(read_archive(io.BytesIO(content), "x"), folder / "out")
    read_table(folder / "out")


def _try_scores(content: bytes, folder: Path) -> None:
    (folder / "in" / "scores.csv").write_bytes(content)
    log = read_score_log("scores.csv", folder / "in")
    assert log is not None
    output = ModelOutput("score", (1,), 0.01, 0)
    threshold = choose_from_log(log.of_model("cells", "0123abcd" * 8), 1.0, output, 0.05)
    assert 0 <= threshold.score < 10


def _try_corrections(content: bytes, folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "corrections.csv").write_bytes(content)
    read_table(folder / "out")
    merge_feedback(read_archive(io.BytesIO(_archive([_judged(_review())], {EVENT: b"picture"})), "x"), folder / "out")


def _try_state(content: bytes, folder: Path) -> None:
    (folder / "in" / "reviews.jsonl").write_bytes(content)
    (folder / "in" / f"{EVENT}.jpg").write_bytes(b"picture")
    (folder / "in" / "scores.bin").write_bytes(content[::-1])
    merge_feedback(search_folders([folder / "in"]), folder / "out")


def _review() -> dict[str, object]:
    return {"event": EVENT, "camera": "door", "verdict": "right", "label": "", "by": "page", "time": 1e9}


def _judged(review: object) -> dict[str, object]:
    return {"review": review, "day": "2026-11-29", "started": 1e9, "ended": 1e9 + 5, "model": MODEL, "score": 0.7}


def _spoil(rng: random.Random, values: dict[str, object]) -> dict[str, object]:
    """One value replaced, or none."""
    return (
        values | {rng.choice(sorted(values)): rng.choice((*_ODD, *_TIMES, *_NAMES))} if rng.random() < 0.7 else values
    )


def _archive(events: object, pictures: dict[str, bytes], more: tuple[tarfile.TarInfo, ...] = ()) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        members = [("feedback.json", json.dumps(events).encode())]
        members += [(f"{name}.jpg", content) for name, content in pictures.items()]
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in more:
            archive.addfile(member, io.BytesIO(bytes(min(member.size, 1 << 16))))
    return file.getvalue()


def _make_archive(rng: random.Random) -> bytes:
    """An archive with odd events and members, or a damaged one."""
    review = _spoil(rng, _review()) | {
        "event": rng.choice((EVENT, EVENT, f"{EVENT}\n", "ffffffff" + EVENT[8:], "../x"))
    }
    events: object = [_spoil(rng, _judged(review)) for _ in range(rng.choice((1, 1, 1, 30)))]
    if rng.random() < 0.1:
        events = rng.choice((*_ODD, [[]]))
    more = []
    for _ in range(rng.choice((0, 0, 1, 3))):
        member = tarfile.TarInfo(rng.choice(_NAMES))
        member.type = rng.choice((tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE))
        member.linkname = "../outside.jpg"
        member.size = rng.choice((0, 5, 1 << 16)) if member.isreg() else 0
        member.pax_headers = {
            rng.choice(("path", "size", "GNU.sparse.size", "linkpath")): rng.choice(("-1", "9" * 30, "x"))
        }
        more.append(member)
    content = _archive(events, {EVENT: b"picture"} if rng.random() < 0.9 else {}, tuple(more))
    if rng.random() < 0.3:
        return mutate(rng, content, range(min(1024, len(content))))
    if rng.random() < 0.1:  # a size that the archive does not hold
        return content[:124] + rng.choice((b"77777777777\0", b"\x80" + b"\xff" * 11, b"\xff" * 12)) + content[136:]
    return content[: rng.randrange(len(content))] if rng.random() < 0.1 else content


def _make_scores(rng: random.Random) -> bytes:
    rows = ["time,camera,model,score,alarm,verdict"]
    values = ("0.5", "3.5", "nan", "inf", "-inf", "1e308", "", "x", "0x1p3")
    for number in range(rng.choice((0, 30, 60))):
        time = str(1000 + number) if rng.random() < 0.8 else rng.choice(_TIMES)
        score = f"{number / 10}" if rng.random() < 0.9 else rng.choice(values)
        rows.append(f"{time},door,{MODEL},{score},{rng.choice(('0', '1', 'x'))},{rng.choice(('', 'right', 'x'))}")
    if rng.random() < 0.2:
        rows.insert(rng.randrange(len(rows) + 1), rng.choice(('"' + "x" * 200_000, "a\rb", "\0", ",,,,,,,,", '"')))
    return "\n".join(rows).encode()


def _make_table(rng: random.Random) -> bytes:
    columns = ["file", "event", "camera", "day", "model", "score", "verdict", "label", "by", "time", "whole", "sha256"]
    rows = [",".join(columns)]
    for _ in range(rng.choice((1, 1, 5))):
        file = rng.choice((*_NAMES, "../outside.jpg", "right/x.jpg", f"right/{EVENT}.jpg")).replace("\0", "")
        event = rng.choice((EVENT, EVENT, "x"))
        rows.append(f'"{file}",{event},door,2026-11-29,{MODEL},0.7,{rng.choice(("right", "missed", "x"))},,page,'
                    f'{rng.choice(("5", "1e9", *_TIMES))},yes,00')  # fmt: skip
    return "\n".join(rows).encode()


def _make_reviews(rng: random.Random) -> bytes:
    lines = []
    for _ in range(rng.choice((1, 5))):
        review = _spoil(rng, _review())
        if rng.random() < 0.4:
            review["event"] = rng.choice(("ffffffff" + EVENT[8:], f"{EVENT}\n", "f" * 8 + "-ffff" * 3 + "-" + "f" * 12))
        lines.append(json.dumps(review))
    return "\n".join(lines).encode()
