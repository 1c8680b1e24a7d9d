"""Webhooks to real HTTP servers: signatures, answers, redirects, TLS, lost connections."""

from __future__ import annotations

import email.utils
import time

import msgspec
import pytest
from certificates import issue_certificate
from events import make_event
from standardwebhooks import Webhook, WebhookVerificationError
from webhook_server import WebhookServer

from vedette.runtime.config.sink_tables import WebhookSettings
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.events.receivers import DeliveryFailed
from vedette.runtime.events.receivers.webhook_signature import sign

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def settings(server, **keys):
    return WebhookSettings(url=server.url, **keys)


def test_events_arrive_in_order_as_the_broker_gets_them(forwarder_of, server, wait_until):
    forwarder = forwarder_of(settings(server))
    forwarder.outbox.put(*map(make_event, range(5)))
    forwarder.start()
    wait_until(lambda: forwarder.queue.count_pending() == 0, "the acknowledgements")
    forwarder.outbox.put(make_event(5))
    forwarder.wake()
    wait_until(lambda: server.sequences == [1, 2, 3, 4, 5, 6], "the events")
    first = server.requests[0]
    assert first.path == "/hook"
    assert first.headers["content-type"] == "application/cloudevents+json"
    assert first.event["source"] == "/plant/hall/line1/box7/door"
    assert first.event["type"] == "vedette.presence.new"
    assert first.headers["webhook-id"] == first.event["id"]
    assert "webhook-signature" not in first.headers
    assert server.connections == 1, "one connection for all"
    assert forwarder.outbox.count_pending() == 6, "the broker's events still wait"
    wait_until(lambda: forwarder.figures().delivered == 6, "the figures")


def test_signature_of_the_specification():
    """The example in the specification's reference libraries."""
    key = __import__("base64").b64decode(SECRET.removeprefix("whsec_"))
    headers = sign([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_reference_library_verifies_signatures(forwarder_of, server, wait_until, tmp_path):
    """With two secrets, receivers that know either of them are satisfied."""
    other = "whsec_" + "A" * 44
    (tmp_path / "secret").write_text(f"{SECRET}\n{other}\n")
    forwarder = forwarder_of(settings(server, secret_file=str(tmp_path / "secret")))
    forwarder.outbox.put(make_event())
    forwarder.start()
    wait_until(lambda: server.requests, "the event")
    (posted,) = server.requests
    for secret in (SECRET, other):
        assert Webhook(secret).verify(posted.body, posted.headers)["sequence"] == "000000000001"
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(posted.body + b" ", posted.headers)


@pytest.mark.parametrize("text", ["", "password", "whsec_c2hvcnQ="])
def test_a_secret_that_is_none_is_refused_at_the_start(forwarder_of, server, tmp_path, text):
    (tmp_path / "secret").write_text(text)
    with pytest.raises(ConfigProblem, match="24 to 64 bytes"):
        forwarder_of(settings(server, secret_file=str(tmp_path / "secret")))


def test_permanent_refusals_are_dead_letters_and_block_nothing(forwarder_of, wait_until):
    server = WebhookServer(lambda posted: (422, {}) if posted.sequence in (2, 3) else (200, {}))
    forwarder = forwarder_of(settings(server))
    forwarder.outbox.put(*map(make_event, range(4)))
    forwarder.start()
    wait_until(lambda: server.sequences == [1, 2, 3, 4, 5], "all, and one report")
    report = server.requests[-1].event
    assert report["type"] == "vedette.sink.refused"
    assert report["data"] == {"sink": "webhook", "sequence": 2, "reason": "HTTP 422 Unprocessable Entity"}
    wait_until(lambda: forwarder.queue.count_pending() == 0, "the acknowledgements")
    assert forwarder.queue.count_dead_letters() == 2
    assert forwarder.outbox.count_dead_letters() == 0, "the broker has refused nothing"
    server.stop()


def test_dead_letters_are_sent_again_at_the_next_start(forwarder_of, wait_until):
    statuses = [410]
    server = WebhookServer(lambda _: (statuses[-1], {}))
    forwarder = forwarder_of(settings(server))
    forwarder.outbox.put(make_event())
    forwarder.start()
    wait_until(lambda: forwarder.queue.count_dead_letters() == 2, "the dead letters")  # the report of it is one
    forwarder_of.stop(forwarder)
    statuses.append(200)
    again = forwarder_of(settings(server))
    assert again.queue.count_pending() == 2
    again.start()
    wait_until(lambda: again.queue.count_pending() == 0, "the events")
    assert again.queue.count_dead_letters() == 0
    assert server.sequences == [1, 2, 1, 2]
    server.stop()


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503, 301, 308])
def test_temporary_answers_are_tried_again(forwarder_of, wait_until, status):
    answers = iter([(status, {"Location": "https://example.org/"}), (status, {}), (200, {})])
    server = WebhookServer(lambda _: next(answers))
    forwarder = forwarder_of(settings(server))
    forwarder.outbox.put(make_event())
    forwarder.start()
    wait_until(lambda: forwarder.queue.count_pending() == 0, "the event")
    assert server.sequences == [1, 1, 1]
    assert len({each.headers["webhook-id"] for each in server.requests}) == 1
    assert forwarder.queue.count_dead_letters() == 0
    server.stop()


def test_a_redirect_is_not_followed(forwarder_of, server, wait_until):
    redirecting = WebhookServer(lambda _: (307, {"Location": server.url}))
    forwarder = forwarder_of(settings(redirecting))
    forwarder.outbox.put(make_event())
    forwarder.start()
    wait_until(lambda: len(redirecting.requests) > 2, "the attempts")
    assert server.url in forwarder.figures().trouble
    assert not server.requests
    redirecting.stop()


def test_retry_after_is_respected(forwarder_of, server):
    answers = [
        (429, {"Retry-After": "7"}),
        (503, {"Retry-After": email.utils.formatdate(time.time() + 90, usegmt=True)}),
    ]
    server.reply = lambda _: answers.pop(0)
    receiver = forwarder_of(settings(server)).receiver
    receiver.add(forwarder_row())
    with pytest.raises(DeliveryFailed) as seconds:
        receiver.deliver()
    with pytest.raises(DeliveryFailed) as date:
        receiver.deliver()
    receiver.close()
    assert seconds.value.retry_after == 7
    assert 60 < date.value.retry_after <= 91


def forwarder_row():
    from vedette.runtime.events.outbox import SequencedEvent

    return SequencedEvent(1, make_event())


def test_an_event_that_fails_each_time_does_not_block_the_others(forwarder_of, wait_until):
    server = WebhookServer(lambda posted: (500 if posted.sequence == 2 else 200, {}))
    forwarder = forwarder_of(settings(server))
    forwarder.outbox.put(*map(make_event, range(4)))
    forwarder.start()
    wait_until(lambda: forwarder.queue.count_pending() == 0, "the others")
    assert set(server.sequences) == {1, 2, 3, 4, 5}
    assert forwarder.queue.count_dead_letters() == 1
    (report,) = [each.event for each in server.requests if each.event["type"] == "vedette.sink.refused"]
    assert report["data"]["sequence"] == 2
    server.stop()


def test_a_server_that_fails_with_all_events_makes_no_dead_letter(forwarder_of, wait_until):
    statuses = [500]
    server = WebhookServer(lambda _: (statuses[-1], {}))
    forwarder = forwarder_of(settings(server))
    forwarder.outbox.put(*map(make_event, range(3)))
    forwarder.start()
    wait_until(lambda: len(server.requests) > 25, "several rounds")
    assert forwarder.queue.count_dead_letters() == 0
    assert forwarder.figures().trouble == "HTTP 500 Internal Server Error"
    statuses.append(200)
    wait_until(lambda: forwarder.queue.count_pending() == 0, "the events")
    assert server.sequences[-3:] == [1, 2, 3]
    server.stop()


def test_a_wrong_clock_makes_no_dead_letter(forwarder_of, wait_until, tmp_path):
    """A receiver that finds the signature too old says 401; its header `Date` tells that this is why."""
    (tmp_path / "secret").write_text(SECRET)

    def reply(posted):
        age = time.time() - 3600 - float(posted.headers["webhook-timestamp"])
        return (401 if abs(age) > 300 else 200, {})

    server = WebhookServer(reply)
    server.date = email.utils.formatdate(time.time() - 3600, usegmt=True)
    forwarder = forwarder_of(settings(server, secret_file=str(tmp_path / "secret")))
    forwarder.outbox.put(make_event())
    forwarder.start()
    wait_until(lambda: "clock differs" in forwarder.figures().trouble, "the reason")
    assert forwarder.queue.count_dead_letters() == 0
    clock = forwarder.outbox.clock.wall_time
    forwarder.receiver.context.clock.wall_time = lambda: clock() - 3600
    wait_until(lambda: forwarder.queue.count_pending() == 0, "the event")
    server.stop()


def test_tls_with_an_authority_of_its_own(forwarder_of, wait_until, tmp_path):
    authority = issue_certificate(tmp_path, "authority")
    issue_certificate(tmp_path, "server", by=authority)
    server = WebhookServer(pair=(tmp_path / "server.pem", tmp_path / "server.key"))
    strict = forwarder_of(settings(server), folder="strict")
    strict.outbox.put(make_event())
    strict.start()
    wait_until(lambda: "CERTIFICATE_VERIFY_FAILED" in strict.figures().trouble, "the refusal")
    assert not server.requests
    trusting = forwarder_of(settings(server, ca_file=str(tmp_path / "authority.pem")), folder="trusting")
    trusting.outbox.put(make_event())
    trusting.start()
    wait_until(lambda: server.sequences == [1], "the event")
    with pytest.raises(ConfigProblem, match="missing"):
        forwarder_of(settings(server, ca_file=str(tmp_path / "missing.pem")), folder="missing")
    server.stop()


def test_a_receiver_that_goes_away_and_comes_back(forwarder_of, server, wait_until):
    forwarder = forwarder_of(settings(server))
    forwarder.start()
    forwarder.outbox.put(make_event())
    wait_until(lambda: server.sequences == [1], "the first")
    server.stop()
    server.reply = lambda posted: None if len(server.requests) == 3 else (200, {})  # closes once without an answer
    forwarder.outbox.put(make_event(1), make_event(2))
    wait_until(lambda: forwarder.figures().trouble, "the trouble")
    server.start()
    wait_until(lambda: forwarder.queue.count_pending() == 0, "the rest")
    assert set(server.sequences) == {1, 2, 3}
    assert forwarder.figures().connected


def test_a_connection_that_the_server_closed_is_no_failure(forwarder_of, wait_until):
    """Servers close connections that are idle; the next event must not wait for a back-off."""
    server = WebhookServer(lambda posted: (200, {}))
    server.idle = 0.05
    forwarder = forwarder_of(settings(server))
    forwarder.start()
    for number in range(3):
        forwarder.outbox.put(make_event(number))
        forwarder.wake()
        wait_until(lambda number=number: len(server.requests) == number + 1, "the event")
        time.sleep(0.15)
    assert server.connections == 3
    assert forwarder.failures == 0
    assert not forwarder.trouble
    server.stop()


def test_a_server_that_says_nothing_does_not_hold_up_the_end(forwarder_of, wait_until):
    server = WebhookServer(lambda _: time.sleep(30))
    forwarder = forwarder_of(settings(server))
    forwarder.outbox.put(make_event())
    forwarder.start()
    wait_until(lambda: server.requests, "the request")
    started = time.monotonic()
    forwarder.stop(0.1)
    forwarder.wait_for_end()
    assert time.monotonic() - started < 10
    assert forwarder.finished
    assert forwarder.queue.count_pending() == 1
    server.stop()


def test_only_the_rules_that_are_asked_for(forwarder_of, server, wait_until):
    forwarder = forwarder_of(settings(server, rules=("yard", "camera")))
    others = [
        msgspec.structs.replace(make_event(number), rule="yard" if number % 20 == 7 else "door") for number in range(60)
    ]
    forwarder.outbox.put_all(others)
    forwarder.outbox.put_system_event("camera", "stalled", {"seconds": 5.0})
    forwarder.start()
    wait_until(lambda: forwarder.queue.count_pending() == 0, "all to be settled")
    assert server.sequences == [8, 28, 48, 61]
