"""What Telegraf does with deploy/database/telegraf.conf, for machines that have no Telegraf.

Only what that file needs, after the documents and the source of Telegraf: the input `mqtt_consumer` with the format
`value` in Base64, and the output `postgresql` with one connection. Other settings are refused.
"""

from __future__ import annotations

import base64
import os
import re
import threading
import time
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

SETTINGS = {
    "agent": {"omit_hostname", "flush_interval", "metric_batch_size", "metric_buffer_limit"},
    "inputs.mqtt_consumer": {
        *("name_override", "startup_error_behavior", "servers", "topics", "qos", "persistent_session", "client_id"),
        *("max_undelivered_messages", "username", "password", "data_format", "data_type", "taginclude"),
    },
    "outputs.postgresql": {
        *("startup_error_behavior", "connection", "schema", "create_templates", "add_column_templates"),
    },
}
# States of PostgreSQL after which a batch is tried again, as if there is no connection to begin with. After any other
# error it is dropped and acknowledged, also if the connection breaks in the middle.
_TRIED_AGAIN = re.compile(r"25|53|57(?!014|P04)|40P01|42701|42P07")


def read_settings(file: Path) -> dict[str, dict[str, Any]]:
    """The three tables of the file, with the variables of the environment in place; refuses others and other keys."""
    text = re.sub(r"\$\{(\w+)\}", lambda found: os.environ.get(found[1], ""), file.read_text())
    tables = {}
    for group, content in tomllib.loads(text).items():
        for name, plugins in {"": [content]}.items() if group == "agent" else content.items():
            assert len(plugins) == 1
            tables[f"{group}.{name}".rstrip(".")] = plugins[0]
    assert tables.keys() == SETTINGS.keys()
    for name, keys in SETTINGS.items():
        assert tables[name].keys() <= keys, tables[name].keys() - keys
    return tables


class TelegrafStandIn:
    """Copies messages of the broker into the database, in a thread, and acknowledges them when they are committed.

    Args:
        settings: as `read_settings` gives them
        port: the broker's
        connection: of the database, in place of that in the settings
    """

    def __init__(self, settings: dict[str, dict[str, Any]], port: int, connection: str) -> None:
        self.source, self.sink = settings["inputs.mqtt_consumer"], settings["outputs.postgresql"]
        agent = settings["agent"]
        self.batch_size, self.interval = agent["metric_batch_size"], float(agent["flush_interval"].removesuffix("s"))
        assert (self.source["data_format"], self.source["data_type"]) == ("value", "base64")
        self.connection = connection
        self.waiting: list[tuple[datetime, MQTTMessage]] = []
        self.lock, self.stopping = threading.Lock(), threading.Event()
        self.dropped = 0
        self.client = Client(
            CallbackAPIVersion.VERSION2,
            self.source["client_id"],
            clean_session=not self.source["persistent_session"],
            protocol=MQTTProtocolVersion.MQTTv311,
            manual_ack=self.source["persistent_session"],
        )
        self.client.username_pw_set(self.source["username"], self.source["password"])
        self.client.on_connect = self._subscribe
        self.client.on_message = self._take
        self.client.reconnect_delay_set(0.1, 0.2)  # type: ignore[arg-type]  # fractions work
        self.client.connect_async("127.0.0.1", port)
        self.client.loop_start()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _subscribe(self, client: Client, _data: object, flags: Any, *_: object) -> None:
        with self.lock:
            self.waiting.clear()  # the broker sends again what was not acknowledged
        if not flags.session_present:
            client.subscribe([(topic, self.source["qos"]) for topic in self.source["topics"]])

    def _take(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        with self.lock:
            self.waiting.append((datetime.now(UTC), message))

    def _run(self) -> None:
        flushed = time.monotonic()
        while not self.stopping.is_set():
            with self.lock:
                batch = self.waiting[: self.batch_size]
            if len(batch) < self.batch_size and time.monotonic() - flushed < self.interval:
                time.sleep(0.005)
                continue
            flushed = time.monotonic()
            if not batch or not self.write([(when, it.topic, bytes(it.payload)) for when, it in batch]):
                time.sleep(0.05)
                continue
            with self.lock:
                done = {id(message) for _, message in batch}
                self.waiting = [row for row in self.waiting if id(row[1]) not in done]
            for _, message in batch:
                self.client.ack(message.mid, message.qos)

    def write(self, rows: list[tuple[datetime, str, bytes]]) -> bool:
        """Copies rows in one transaction; False: to be tried again."""
        name = self.source["name_override"]
        try:
            connection = psycopg.connect(self.connection)
        except psycopg.Error:
            return False
        try:
            with connection as database:
                columns = database.execute(
                    "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s",
                    (self.sink["schema"], name),
                ).fetchall()
                assert {("time",), ("topic",), ("value",)} <= set(columns), "it would drop what has no column"
                copy = f'COPY "{self.sink["schema"]}"."{name}" ("time", "topic", "value") FROM STDIN (FORMAT binary)'
                with database.cursor().copy(copy) as target:
                    target.set_types(["timestamptz", "text", "text"])
                    for when, topic, payload in rows:
                        target.write_row((when, topic, base64.b64encode(payload).decode()))
        except psycopg.Error as error:
            if _TRIED_AGAIN.match(error.sqlstate or ""):
                return False
            self.dropped += len(rows)
        return True

    def stop(self) -> None:
        """Ends it as a crash would: what was not acknowledged stays at the broker."""
        self.stopping.set()
        self.thread.join()
        self.client.loop_stop()
        if (stream := self.client.socket()) is not None:
            stream.close()
