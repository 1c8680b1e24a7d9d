"""deploy/database: events reach PostgreSQL once each, and the queries of the dashboards answer what they promise."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from mosquitto import BINARY, Mosquitto
from paths import ROOT, TESTS
from postgres import BINARIES, Postgres
from telegraf_stand_in import TelegrafStandIn, read_settings
from waiting import patience

from vedette.runtime.events.replay import ReplayCommand

DATABASE = ROOT / "deploy" / "database"
PGLITE = ROOT / "build" / "pglite" / "node_modules" / "@unni-craftsman" / "pglite"
_QUERY = re.compile(r"^-- name: ([^\n]+)\n(.+?)(?=^-- name|\Z)", re.MULTILINE | re.DOTALL)
QUERIES: dict[str, str] = dict(_QUERY.findall((DATABASE / "queries.sql").read_text()))
_PANELS = json.loads((DATABASE / "grafana-dashboard.json").read_text())["panels"]
PANELS: dict[str, str] = {panel["title"]: panel["targets"][0]["rawSql"] for panel in _PANELS}
NOW = datetime.now(UTC)
Row = tuple[datetime, str, bytes]

needs_postgres = pytest.mark.skipif(BINARIES is None, reason="needs PostgreSQL: apt-get install postgresql")


def event(number: int, when: datetime = NOW, box: str = "box7", **changes: Any) -> Row:
    """A row of the inbox: a `new` of the rule `presence`."""
    source = f"/plant/hall2/line1/{box}/door"
    message = {
        "specversion": "1.0",
        "id": f"{box}-{number}",
        "source": source,
        "type": "vedette.presence.new",
        "time": when.isoformat(),
        "sequence": f"{number:012d}",
        "epoch": "5eed5eed",
        "timequality": "synced",
        "data": {"event": f"{box}-{number}", "kind": "new", "top_score": number % 7, "predictions": [
            {"label": "scratch", "score": 1}, {"label": "dent", "score": number % 7 + 2}]},
    } | changes  # fmt: skip
    return (
        when + timedelta(seconds=2),
        f"vedette/v1/plant/hall2/line1/{box}/evt/door/presence",
        json.dumps(message).encode(),
    )


def stats(minute: int, box: str = "box7", **values: Any) -> Row:
    topic = f"vedette/v1/plant/hall2/line1/{box}/stats/door"
    return NOW - timedelta(minutes=minute), topic, json.dumps({"model": "weave:1", **values}).encode()


DAMAGED = [
    b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"specversion": "1.0"}', b'"' + b"x" * 100000 + b'"', b"[" * 100000,
    event(1, id="")[2], event(1, id="x" * 5000)[2], event(1, time="when?")[2], event(1, time="9999-01-01")[2],
    event(1, id="a\x00b")[2], event(1, sequence="one")[2], event(1, source="/plant/hall2/line1/box8/door")[2],
    event(1, id="y", data={"top_score": "high"})[2], event(1, id="z", sequence="9" * 30)[2],
]  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    database = Postgres()
    try:
        database.start()
        for _ in range(2):  # a second run changes nothing
            database.run_file(DATABASE / "schema.sql")
        yield database
    finally:
        database.remove()


@pytest.fixture
def telegraf(server: Postgres) -> TelegrafStandIn:
    """With the rights that it has, without a broker, and empty tables."""
    with psycopg.connect(server.address()) as database:
        database.execute("TRUNCATE vedette.event, vedette.delivery, vedette.camera, vedette.stats, vedette.rejected")
    writer = TelegrafStandIn(read_settings(DATABASE / "telegraf.conf"), 1, server.address(user="telegraf"))
    writer.stop()
    return writer


def ask(server: Postgres, query: str, user: str = "grafana") -> list[tuple[Any, ...]]:
    with psycopg.connect(server.address(user=user)) as database:
        return database.execute(query).fetchall()  # type: ignore[arg-type]  # our own text


def change(server: Postgres, statement: str) -> None:
    with psycopg.connect(server.address()) as database:
        database.execute(statement)  # type: ignore[arg-type]  # our own text


def test_telegraf_is_configured_by_settings_that_it_has() -> None:
    settings = read_settings(DATABASE / "telegraf.conf")
    source, sink = settings["inputs.mqtt_consumer"], settings["outputs.postgresql"]
    assert (source["qos"], source["persistent_session"], bool(source["client_id"])) == (1, True, True)
    assert "pool_max_conns=1" in sink["connection"]
    assert settings["agent"]["metric_batch_size"] <= 20, "mosquitto sends no more without an acknowledgment"
    assert {topic.split("/")[6] for topic in source["topics"]} == {"evt", "availability", "info", "state", "stats"}


@needs_postgres
@pytest.mark.slow
def test_each_event_is_stored_once_and_copies_are_counted(server: Postgres, telegraf: TelegrafStandIn) -> None:
    rows = [event(number) for number in range(1, 101)]
    assert telegraf.write(rows + rows[:10])
    assert telegraf.write([event(5, NOW + timedelta(hours=1)), *rows[:5]])  # one whose time was corrected in between
    assert telegraf.dropped == 0
    assert ask(server, "SELECT count(*), count(DISTINCT id) FROM vedette.event") == [(100, 100)]
    assert ask(server, "SELECT sum(copies), max(copies) FROM vedette.delivery") == [(116, 4)]
    assert ask(server, QUERIES["duplicates"]) == [("/plant/hall2/line1/box7/door", 100, 116, 10, 4)]
    assert ask(server, "SELECT time FROM vedette.event WHERE id = 'box7-5'")[0][0] < NOW + timedelta(minutes=1)
    assert ask(server, "SELECT label, kind FROM vedette.event LIMIT 1") == [("dent", "new")]
    assert ask(server, "SELECT count(*) FROM vedette.inbox", "postgres") == [(0,)]


@needs_postgres
@pytest.mark.slow
def test_a_damaged_message_costs_no_other(server: Postgres, telegraf: TelegrafStandIn) -> None:
    topic = event(1)[1]
    damaged = [(NOW, topic, payload) for payload in DAMAGED]
    damaged += [(NOW, other, b"online") for other in ("x", "", "vedette/v1/a/b/c/d/availability/e/f/g")]
    damaged += [(NOW, "vedette/v1/plant/hall2/line1/box7/availability/door", b"perhaps"), stats(1, frames="many")]
    mixed = [row for number, bad in enumerate(damaged) for row in (bad, event(number + 100))]
    assert telegraf.write(mixed)
    assert telegraf.dropped == 0
    assert ask(server, "SELECT count(*) FROM vedette.event") == [(len(damaged),)]
    assert ask(server, "SELECT count(*) FROM vedette.rejected") == [(len(damaged),)]
    reasons = {row[2] for row in ask(server, QUERIES["rejected messages"])}
    assert "the event names another source than its topic" in reasons
    assert ask(server, "SELECT count(*) FROM vedette.delivery") == [(len(damaged),)], (
        "what was rejected may come again, whole"
    )


@needs_postgres
@pytest.mark.slow
def test_two_writers_at_once_store_nothing_twice(server: Postgres, telegraf: TelegrafStandIn) -> None:
    rows = [event(number) for number in range(1, 401)]

    def write(order: int) -> None:
        for start in range(0, 400, 20):
            batch = rows[start : start + 20][::order]
            while not telegraf.write(batch):  # a deadlock is tried again
                pass

    threads = [threading.Thread(target=write, args=(order,)) for order in (1, -1, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert telegraf.dropped == 0
    assert ask(server, "SELECT count(*), count(DISTINCT id) FROM vedette.event") == [(400, 400)]
    assert ask(server, "SELECT sum(copies) FROM vedette.delivery") == [(1200,)]


@needs_postgres
@pytest.mark.slow
def test_telegraf_and_grafana_have_no_more_rights_than_they_need(server: Postgres, telegraf: TelegrafStandIn) -> None:
    for user, query in (
        ("telegraf", "SELECT * FROM vedette.event"),
        ("telegraf", "DELETE FROM vedette.inbox"),
        ("telegraf", "SELECT vedette.take('a', 'b', now())"),
        ("telegraf", "CREATE TABLE vedette.x ()"),
        ("grafana", "INSERT INTO vedette.inbox VALUES (now(), 'a', 'b') RETURNING 1"),
        ("grafana", "SELECT vedette.forget(now())"),
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            ask(server, query, user)


@needs_postgres
@pytest.mark.slow
def test_the_queries_answer_what_they_promise(server: Postgres, telegraf: TelegrafStandIn) -> None:
    source = "/plant/hall2/line1/box7/door"
    root = "vedette/v1/plant/hall2/line1/box"
    hour_ago = NOW - timedelta(hours=1)
    tombstone = {"type": "vedette.outbox.evicted", "data": {"first": 3, "last": 4, "count": 2}}
    rows = [event(number, hour_ago) for number in (1, 2, 7, 8, 12)] + [event(5, hour_ago, **tombstone)]
    rows += [event(1, box="box8"), (NOW - timedelta(days=1), f"{root}9/info/door", b'{"model": "weave:3:0f9c2ab1"}')]
    rows += [(NOW - timedelta(days=1), f"{root}9/availability/door", b"online")]
    rows += [
        (NOW, f"{root}9/availability/door", b"offline"),
        (NOW, f"{root}9/info/door", b'{"model": "weave:3:0f9c2ab1"}'),
    ]
    rows += [
        stats(4, inferences=100, events=1),
        stats(3, inferences=1100, events=3),
        stats(3, inferences=1100, events=3),
    ]
    rows += [
        stats(2, inferences=50, events=0),
        stats(1, inferences=1050, events=3, drift={"share_above": 0.4, "evidence": 9}),
    ]
    assert telegraf.write(rows)
    assert ask(server, "SELECT reason FROM vedette.rejected") == []
    answers = {name: ask(server, query) for name, query in QUERIES.items()}
    for title, query in PANELS.items():
        filtered = re.sub(r"\$__timeFilter\((\w+)\)", r"\1 BETWEEN now() - interval '2 days' AND now()", query)
        assert ask(server, filtered), f"the panel {title} is empty"
    assert [(row[1], row[3], row[4]) for row in answers["events per hour by box and kind"]] == [
        ("box7", "evicted", 1), ("box7", "new", 5), ("box8", "new", 1),
    ]  # fmt: skip
    assert [row[3:] for row in answers["highest scores per day"] if row[1] == source] == [(5, 5.0, 1.0)]
    total = [sum(column) for column in zip(*(row[2:4] for row in answers["events per thousand frames"]), strict=True)]
    assert total == [2000, 5], "a repeated message counts once, and a restart not at all"
    assert [row[2] for row in answers["drift"]] == [0.4]
    heard = f"SELECT heard FROM vedette.camera WHERE source = '{source}'"
    assert telegraf.write([(NOW + timedelta(minutes=9), *rows[-1][1:])])  # the retained one again
    assert ask(server, heard) == [(NOW - timedelta(minutes=1),)]
    assert ask(server, "SELECT count(*) FROM vedette.stats") == [(4,)]
    assert [(row[0], row[2], row[4]) for row in answers["silent boxes"]] == [("box9", "offline", None)]
    assert [row[3] for row in answers["what runs where"]] == [None, None, "weave:3:0f9c2ab1"]
    assert answers["latency of delivery"][0][:3] == (source, 6, 2)
    assert sorted(row[2:4] for row in answers["missing events"]) == [(6, 6), (9, 11)], "3 and 4 have a tombstone"
    for row in answers["missing events"]:
        command = msgspec.json.decode(json.dumps(row[6]), type=ReplayCommand)
        assert (command.epoch, command.first, command.last) == ("5eed5eed", row[2], row[3])
    assert [row[3] for row in answers["faults"]] == ["vedette.outbox.evicted"]
    assert ask(server, f"SELECT vedette.forget('{NOW.isoformat()}')", "postgres") == [(6,)]
    assert ask(server, "SELECT count(*) FROM vedette.event") == [(1,)]


@needs_postgres
@pytest.mark.skipif(BINARY is None, reason="needs mosquitto: apt-get install mosquitto")
@pytest.mark.slow
def test_events_of_a_daemon_arrive_though_database_and_telegraf_die(
    server: Postgres, telegraf: TelegrafStandIn, daemon_process, line_images, subscribe, tmp_path, wait_until
) -> None:
    broker = Mosquitto(tmp_path / "broker")
    broker.start()
    settings = read_settings(DATABASE / "telegraf.conf")
    source = settings["inputs.mqtt_consumer"]
    source["topics"] = [topic.replace("vedette/", "test/", 1) for topic in source["topics"]]
    address = server.address(user="telegraf")
    writer = TelegrafStandIn(settings, broker.port, address)
    daemon_process.configure(f"file:{line_images}?fps=20&loop=true", f"mqtt://127.0.0.1:{broker.port}")
    client = subscribe(broker.port).client

    def stored() -> int:
        return ask(server, "SELECT count(*) FROM vedette.event")[0][0]

    def wait_for_more() -> None:
        before = stored()
        wait_until(lambda: stored() >= before + 3, "more events", seconds=60)

    def ask_for_missing() -> bool:
        """Whether none are missing; else sends the commands that the query gives."""
        missing = ask(server, QUERIES["missing events"])
        for row in missing:
            client.publish("test/v1/plant/hall/line1/box/cmd/replay", json.dumps(row[6]), qos=1)
            time.sleep(0.5)
        return not missing

    try:
        process = daemon_process.start()
        wait_for_more()
        for _ in range(3):
            server.stop()
            time.sleep(0.5)
            server.start()
            writer.stop()  # what it had written, but not acknowledged, comes again
            writer = TelegrafStandIn(settings, broker.port, address)
            wait_for_more()
        change(server, "REVOKE INSERT ON vedette.inbox FROM telegraf")
        wait_until(lambda: writer.dropped > 0 and daemon_process.recorded() > stored(), "a batch that is dropped")
        change(server, "GRANT INSERT ON vedette.inbox TO telegraf")
        wait_for_more()
        assert ask(server, QUERIES["missing events"]), "it tells what Telegraf dropped"
        wait_until(ask_for_missing, "the replay", seconds=60)
        process.terminate()
        assert process.wait(60 * patience()) == 0
        wait_until(lambda: stored() == daemon_process.recorded(), "all events", seconds=60)
        events, last = ask(server, "SELECT count(DISTINCT id), max(sequence) FROM vedette.event")[0]
        assert events == last == daemon_process.recorded()
        assert ask(server, QUERIES["rejected messages"]) == []
        wait_until(lambda: ask(server, "SELECT availability FROM vedette.camera") == [("stopped",)], "its last word")
    finally:
        writer.stop()
        broker.kill()


@pytest.mark.skipif(
    not (shutil.which("node") and PGLITE.is_dir()),
    reason="needs node and TimescaleDB as WebAssembly: tests/servers fetches it",
)
@pytest.mark.slow
def test_timescaledb_takes_the_same_messages_and_answers_the_same_queries(tmp_path: Path) -> None:
    rows = [event(number, NOW - timedelta(hours=6 * number), f"box{number % 3}") for number in range(1, 301)]
    rows += rows[:50]
    copied = "".join(f"{when.isoformat()},{topic},{base64.b64encode(body).decode()}\n" for when, topic, body in rows)
    late = base64.b64encode(event(1000, NOW - timedelta(days=60), "box1")[2]).decode()
    statements = [
        "SELECT count(*)::int AS chunks FROM timescaledb_information.chunks WHERE hypertable_name = 'event'",
        "SELECT count(compress_chunk(c))::int AS compressed FROM show_chunks('vedette.event', INTERVAL '30 days') AS c",
        f"INSERT INTO vedette.inbox SELECT now(), '{event(1, NOW, 'box1')[1]}', '{late}' FROM generate_series(1, 2)",
        "SELECT count(*)::int AS events, count(DISTINCT id)::int AS ids FROM vedette.event",
        "SELECT sum(copies)::int AS copies FROM vedette.delivery",
        "SELECT count(*)::int AS rejected FROM vedette.rejected",
        "CALL refresh_continuous_aggregate('vedette.hourly', NULL, NULL)",
        "SELECT sum(events)::int AS events FROM vedette.hourly",
        *QUERIES.values(),
    ]
    given = {"files": [str(DATABASE / name) for name in ("schema.sql", "timescale.sql", "timescale.sql")]}
    (tmp_path / "input.json").write_text(json.dumps(given | {"blob": copied, "statements": statements}))
    command = ["node", TESTS / "support" / "timescale.mjs", PGLITE, tmp_path / "input.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120 * patience())
    assert done.returncode == 0, done.stderr
    chunks, compressed, _, events, copies, rejected, _, hourly, *answers = json.loads(done.stdout)
    assert chunks[0]["chunks"] >= 9
    assert compressed[0]["compressed"] >= 5
    assert events == [{"events": 301, "ids": 301}]
    assert copies == [{"copies": 352}]
    assert rejected == [{"rejected": 0}]
    assert hourly == [{"events": 301}]
    assert {row["device"] for row in answers[0]} == {"box0", "box1", "box2"}
