"""What the bytes of events are made of, and what batches and encodings save, on a recording with a camera's rules.

    make bench-traffic BENCH_ARGS="vtest.avi door --config DIR"

The daemon replays the recording once, as `vedette traffic` does. Its events are then put together in several ways, so
all rows are about the same events. Bytes are MQTT 5 packets; the share is that of events and status in the recording as
H.264. The rows with CBOR and zstd need the packages cbor2 and zstandard, which the product does not need: they say what
it would gain. Dictionaries are made of the first 8 kB of events, which a receiver would have to know.
"""

from __future__ import annotations

import importlib.util
import json
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import numpy as np

from vedette.runtime.camera.sources import SourceAddress
from vedette.runtime.config.batch_table import BatchSettings
from vedette.runtime.config.configuration import load_config
from vedette.runtime.evaluation.batch_replay import pack_events, read_priorities
from vedette.runtime.evaluation.h264 import measure_h264_size
from vedette.runtime.evaluation.traffic import RecordingReplayer, count_status_bytes, make_replay_settings
from vedette.runtime.events.event_batch import split_batch
from vedette.runtime.events.sinks import Message
from vedette.runtime.events.sinks.packet_size import packet_bytes

WAYS = {
    "each alone": {},
    "batches 1 s, json": {"seconds": 1.0, "encoding": "json"},
    **{f"batches {seconds:g} s, gzip": {"seconds": seconds} for seconds in (0.5, 1.0, 2.0, 5.0, 10.0)},
    "each alone, gzip": {"seconds": 1.0, "urgent": 0},
    "batches 10 s, gzip, 64 kB": {"seconds": 10.0, "bytes": 65536},
}
_SEED_BYTES, _LEVEL = 8000, 19


def count_bytes(messages: Sequence[Message]) -> dict[str, Any]:
    """Bytes of events by kind of message and by field, and how many of each kind there are."""
    kinds, numbers, fields = Counter[str](), Counter[str](), Counter[str]()
    for message in messages:
        event = json.loads(message.payload)
        kind = event["type"].rsplit(".", 1)[-1]
        kinds[kind] += len(message.payload)
        numbers[kind] += 1
        data = {f"data.{key}": value for key, value in event.pop("data").items()}
        for key, value in (event | data).items():
            fields[key] += len(json.dumps({key.removeprefix("data."): value}, separators=(",", ":"))) - 1
    return {"messages": numbers, "bytes": kinds, "fields": dict(fields.most_common())}


def list_encodings(seed: bytes) -> Iterator[tuple[str, Callable[[list[bytes]], bytes]]]:
    """Other ways to encode the events of a batch, by name."""

    def join(events: list[bytes]) -> bytes:
        return b"[" + b",".join(events) + b"]"

    def deflate(events: list[bytes]) -> bytes:
        compressor = zlib.compressobj(9, zlib.DEFLATED, 15, 9, zlib.Z_DEFAULT_STRATEGY, seed)
        return compressor.compress(join(events)) + compressor.flush()

    yield "json", join
    yield "json, zlib", lambda events: zlib.compress(join(events), 9)
    yield "json, zlib with a dictionary", deflate
    if importlib.util.find_spec("zstandard"):
        zstandard = importlib.import_module("zstandard")
        known = zstandard.ZstdCompressionDict(seed)
        yield "json, zstd", lambda events: zstandard.ZstdCompressor(_LEVEL).compress(join(events))
        yield (
            "json, zstd with a dictionary",
            lambda events: zstandard.ZstdCompressor(_LEVEL, dict_data=known).compress(join(events)),
        )
    if importlib.util.find_spec("cbor2"):
        dumps = importlib.import_module("cbor2").dumps
        yield "cbor", lambda events: dumps(json.loads(join(events)))
        yield "cbor, zlib", lambda events: zlib.compress(dumps(json.loads(join(events))), 9)


@click.command()
@click.argument("recording", type=click.Path(path_type=Path, exists=True))
@click.argument("camera")
@click.option("--config", "folder", type=click.Path(path_type=Path, exists=True), required=True)
def traffic(recording: Path, camera: str, folder: Path) -> None:
    """Measure the events of CAMERA in RECORDING, published in each way."""
    settings = load_config(folder, camera)
    url = f"file:{quote(str(recording.resolve()))}?fps=0"
    stream = measure_h264_size(SourceAddress(camera, url, recording.parent), recording)
    with tempfile.TemporaryDirectory() as state:
        replay = RecordingReplayer(make_replay_settings(settings, url, Path(state)))
        replay.daemon.run()
    assert replay.first is not None
    assert replay.last is not None
    assert replay.report is not None
    events, seconds = replay.sink.events, replay.last.taken - replay.first.taken
    status = count_status_bytes(replay, replay.report, seconds, settings.broker)
    topic, priorities = replay.daemon.delivery.topics.batch(camera), read_priorities(settings.rules)
    found: dict[str, Any] = {"h264": stream.bytes, "status": status, "alone": count_bytes(events), "ways": {}}
    for name, keys in WAYS.items():
        packed = pack_events(events, BatchSettings(**keys), topic, priorities)
        size, payloads = sum(map(packet_bytes, packed)), [len(each.payload) for each in packed]
        found["ways"][name] = {
            "messages": len(packed),
            "bytes": size,
            "share": round((size + status) / stream.bytes, 4),
            "p50_p95_p99_max": np.percentile(payloads, (50, 95, 99, 100)).round().tolist(),
        }
    seed = b",".join(message.payload for message in events)[:_SEED_BYTES]
    second = BatchSettings(seconds=1.0, bytes=1 << 18)
    batches = [split_batch(each.payload) for each in pack_events(events, second, topic, priorities)]
    found["payloads of 1 s"] = {
        name: sum(len(encode(batch)) for batch in batches) for name, encode in list_encodings(seed)
    }
    click.echo(json.dumps(found, indent=1))


if __name__ == "__main__":
    traffic()
