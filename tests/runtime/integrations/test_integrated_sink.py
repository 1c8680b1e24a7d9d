"""What integrations see and send, and that they can neither stop events nor be blamed on them."""

from __future__ import annotations

import msgspec
import pytest
from published import RecordingSink, make_context, make_event, make_fault, make_message, make_report

from vedette.runtime import integrations
from vedette.runtime.events.sinks import Acknowledgement, Command, Message, MessageRefused, MqttSessionSettings
from vedette.runtime.integrations import Integration
from vedette.runtime.integrations.integrated_sink import IntegratedSink, open_integrated_sink
from vedette.runtime.integrations.loss_counter import MAX_LOSSES
from vedette.runtime.integrations.retained_topics import RetainedTopics
from vedette.runtime.monitoring.status_messages import _make_retained_message

ON = '[frigate]\ntopic_prefix = "frigate"\n'


class Echo(Integration):
    """Tells what it was shown."""

    subscriptions = ("other/status",)

    def __init__(self, context):
        self.context = context

    def messages_on_connect(self):
        return [Message("echo/connect", b"1", retain=True)]

    def messages_for_event(self, event):
        return [Message(f"echo/{event.rule}/{event.message.data.kind}", b"1", retain=True)]

    def messages_for_system_event(self, event):
        return [Message(f"echo/{event.rule}/{event.kind}", b"1")]

    def messages_for_state(self, state):
        return [Message("echo/state", ",".join(state.open).encode())]

    def messages_for_report(self, report):
        return [Message("echo/stats", str(report.frames).encode())]

    def messages_for_command(self, command):
        return [Message("echo/answer", command.payload)]

    def messages_on_stop(self):
        return [Message("echo/stop", b"1")]


class Broken(Integration):
    """Fails at each event."""

    def messages_for_event(self, event):
        raise KeyError("no such thing")


@pytest.fixture
def context(tmp_path):
    return make_context(tmp_path, ON)


def make_sink(context, **named):
    inner = RecordingSink()
    chosen = {name: kind(context) for name, kind in (named or {"echo": Echo}).items()}
    retained = RetainedTopics(context.get_settings())
    sink = IntegratedSink(inner, chosen, context.topics, context.camera, retained)
    sink.open()
    return sink, inner


def topics_of(messages):
    return [message.topic for message in messages]


def test_integrations_see_all_that_is_published_and_send_before_it(context):
    sink, inner = make_sink(context)
    assert topics_of(inner.take()) == ["echo/connect"]
    event, fault = make_message(make_event(), context.topics), make_message(make_fault(), context.topics, 2)
    state = _make_retained_message(context.topics.state("door"), b'{"open":["a"],"faults":[]}')
    for message in (event, fault, state):
        sink.send(message)
    sent = inner.take()
    assert sent[1::2] == [event, fault, state]
    assert topics_of(sent[::2]) == ["echo/presence/new", "echo/camera/dark", "echo/state"]
    assert sent[4].payload == b"a"
    sink.close()
    assert topics_of(inner.take()) == ["echo/stop"]
    assert not inner.is_open


def test_replayed_events_are_not_shown(context):
    sink, inner = make_sink(context)
    inner.take()
    message = make_message(make_event(), context.topics)
    sink.send(Message(message.topic, message.payload, sequence=1, replayed=True))
    assert len(inner.take()) == 1


def test_each_event_of_a_batch_is_shown_before_it(context):
    sink, inner = make_sink(context)
    inner.take()
    new, fault = make_message(make_event(), context.topics), make_message(make_fault(), context.topics, 2)
    again = Message(new.topic, new.payload, sequence=3, replayed=True)
    batch = Message(context.topics.batch("door"), b"...", sequence=3, parts=(new, fault, again))
    sink.send(batch)
    assert topics_of(inner.take()) == ["echo/presence/new", "echo/camera/dark", batch.topic]


def test_messages_on_subscribed_topics_go_to_integrations_and_others_on(context):
    sink, inner = make_sink(context)
    inner.take()
    command = Command(b"{}", topic=context.topics.replay())
    inner.received = [Command(b"online", topic="other/status"), command, Acknowledgement(1)]
    assert sink.wait(0) == [command, Acknowledgement(1)]
    assert [message.payload for message in inner.take()] == [b"online"]


def test_a_failing_integration_stops_neither_events_nor_others(context, caplog):
    sink, inner = make_sink(context, broken=Broken, echo=Echo)
    inner.take()
    for number in (1, 2):
        sink.send(make_message(make_event(number=number), context.topics, number))
    assert len(inner.take()) == 4
    assert len([record for record in caplog.records if "broken" in record.message]) == 1


def test_refusal_after_an_integrations_message_is_laid_to_no_event(context):
    """The forwarder makes an event a dead letter at MessageRefused; a plain ConnectionError is tried again."""
    sink, inner = make_sink(context)
    sink.send(make_message(make_event(), context.topics))
    inner.error = MessageRefused("topic name invalid")
    with pytest.raises(ConnectionError) as caught:
        sink.wait(0)
    assert not isinstance(caught.value, MessageRefused)
    inner.take()
    sink.open()  # events now go alone
    sink.send(make_message(make_event(), context.topics))
    assert len(inner.take()) == 1
    inner.error = MessageRefused("topic name invalid")
    with pytest.raises(MessageRefused):
        sink.wait(0)


def test_integrations_pause_after_losses_without_reason_unless_events_arrive_between(context):
    sink, inner = make_sink(context)
    for number in range(1, 3 * MAX_LOSSES):
        sink.open()
        sink.send(make_message(make_event(), context.topics, number))
        if number < 2 * MAX_LOSSES:
            inner.received = [Acknowledgement(number)]
            sink.wait(0)
        inner.error = ConnectionError("reset")
        with pytest.raises(ConnectionError):
            sink.wait(0)
    inner.take()
    sink.open()
    assert inner.take() == []


def test_topics_of_other_settings_are_cleared_once(tmp_path, context, monkeypatch):
    sink, inner = make_sink(context)
    sink.send(make_message(make_event(), context.topics))
    sink.close()
    off = make_context(tmp_path, "")
    sink, inner = make_sink(off)
    cleared = [message for message in inner.take() if not message.payload]
    assert topics_of(cleared) == ["echo/connect", "echo/presence/new"]
    assert all(message.retain for message in cleared)
    sink, inner = make_sink(off)  # the connection did not last: they are cleared again, but for what is in use
    assert topics_of(m for m in inner.take() if not m.payload) == ["echo/presence/new"]
    monkeypatch.setattr("vedette.runtime.integrations.integrated_sink._SETTLED_SECONDS", -1.0)
    sink.wait(0)
    sink, inner = make_sink(off)
    assert [m for m in inner.take() if not m.payload] == []


def test_topics_of_a_removed_camera_are_cleared_by_another(tmp_path, context):
    _, inner = make_sink(context)
    other = make_context(tmp_path, ON, name="yard")
    _, inner = make_sink(other)
    assert not [m for m in inner.take() if not m.payload]
    (tmp_path / "cameras" / "door.toml").unlink()
    _, inner = make_sink(other)
    assert topics_of(m for m in inner.take() if not m.payload) == ["echo/connect"]


def test_nothing_is_wrapped_without_integrations(tmp_path):
    inner = RecordingSink()
    session = MqttSessionSettings("client", ())
    for tables in ("", f'[broker]\nurl = "stdout:"\n{ON}'):
        context = make_context(tmp_path, tables)
        assert open_integrated_sink(lambda *_: inner, context.get_settings, session, context.manifest) is inner


def test_subscriptions_are_added_to_the_session(tmp_path, monkeypatch):
    monkeypatch.setitem(integrations.INTEGRATIONS, "frigate", f"{__name__}:Echo")
    monkeypatch.setattr(integrations, "load_plugin", lambda *_: Echo)
    context = make_context(tmp_path, ON)
    sessions = []

    def open_sink(_broker, session):
        sessions.append(session)
        return RecordingSink()

    open_integrated_sink(open_sink, context.get_settings, MqttSessionSettings("client", ()), context.manifest)
    assert sessions[0].more_topics == ("other/status",)


def test_status_report_is_shown(context):
    sink, inner = make_sink(context)
    inner.take()
    sink.send(Message(context.topics.stats("door"), msgspec.json.encode(make_report()), retain=True))
    assert inner.take()[0].payload == b"1000"
