"""Mails through real SMTP servers: one event, many events, thumbnails, logins, refusals."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from certificates import issue_certificate
from events import make_event
from mail_server import PASSWORD, MailServer, text_of

from vedette.runtime.config.sink_tables import MailSettings
from vedette.runtime.events.event import Attachment
from vedette.runtime.events.receivers import mail

PICTURE = b"\xff\xd8 a small picture \xff\xd9"


def settings(server, **keys):
    plain = {"security": "none", "host": "127.0.0.1", "port": server.port, "interval": 0.0}
    return MailSettings(sender="box7@plant.example", to=("guard@plant.example",), **plain | keys)


@pytest.fixture
def server():
    server = MailServer()
    yield server
    server.stop()


@pytest.fixture
def pair(tmp_path):
    """Certificate and key of a server, and the authority's file."""
    authority = issue_certificate(tmp_path, "authority")
    issue_certificate(tmp_path, "server", by=authority)
    return tmp_path / "server.pem", tmp_path / "server.key"


def with_thumbnail(event, folder, content=PICTURE):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{event.id}.jpg").write_bytes(content)
    link = f"https://store.example/door/{event.id}.jpg"
    evidence = Attachment(hashlib.sha256(PICTURE).hexdigest(), len(PICTURE), "image/jpeg", link)
    return msgspec.structs.replace(event, evidence=evidence)


def test_a_new_event_is_one_mail_with_its_thumbnail(forwarder_of, server, wait_until, tmp_path):
    forwarder = forwarder_of(settings(server))
    event = with_thumbnail(make_event(), tmp_path / "evidence" / "waiting")
    update, end = (msgspec.structs.replace(make_event(), kind=kind) for kind in ("update", "end"))
    forwarder.outbox.put(event, update, end)
    forwarder.start()
    wait_until(lambda: forwarder.queue.count_pending() == 0, "the mail")
    (got,) = server.mails
    assert got["Subject"] == "[box7] door: presence: anomaly, score 3.5"
    assert got["Message-ID"] == f"<{event.id}@box7.vedette.invalid>"
    assert got["Auto-Submitted"] == "auto-generated"
    assert server.envelopes[0].mail_from == "box7@plant.example"
    assert server.envelopes[0].rcpt_tos == ["guard@plant.example"]
    text = text_of(got)
    assert "1970-01-01 00:00:00 +0000" in text
    assert f"sequence  1 in epoch {forwarder.outbox.epoch}" in text
    (picture,) = got.iter_attachments()
    assert picture.get_content_type() == "image/jpeg"
    assert picture.get_content() == PICTURE
    assert forwarder.figures().delivered == 1


def test_a_storm_makes_one_mail_an_interval_and_each_event_is_in_one(forwarder_of, server, wait_until, monkeypatch):
    monkeypatch.setattr(mail, "MAX_ITEMS", 300)
    forwarder = forwarder_of(settings(server, interval=1.0))
    forwarder.outbox.put(make_event())
    forwarder.start()
    wait_until(lambda: len(server.mails) == 1, "the first event, at once")
    events = [
        msgspec.structs.replace(make_event(number), rule="yard" if number % 3 else "door") for number in range(500)
    ]
    forwarder.outbox.put_all(events)
    forwarder.outbox.put_system_event("camera", "stalled", {"seconds": 5.0, "reason": "no\r\nBcc: x@example.org"})
    wait_until(lambda: forwarder.queue.count_pending() == 0, "the mails")
    assert len(server.mails) == 3
    assert server.mails[1]["Subject"] == "[box7] door: 300 events: 200 yard, 100 door"
    assert "the next mail" in text_of(server.mails[1])
    texts = "".join(map(text_of, server.mails))
    assert all(event.id in texts for event in events)
    assert "camera  stalled: seconds 5.0, reason no Bcc: x@example.org" in texts
    assert not any(each["Bcc"] for each in server.mails)


def test_the_interval_holds_over_a_restart(forwarder_of, server, wait_until):
    forwarder = forwarder_of(settings(server, interval=3600.0))
    forwarder.outbox.put(make_event())
    forwarder.start()
    wait_until(lambda: forwarder.queue.count_pending() == 0, "the first mail")
    forwarder_of.stop(forwarder)
    again = forwarder_of(settings(server, interval=3600.0))
    again.outbox.put(make_event(1))
    again.start()
    wait_until(lambda: again.added, "the event to be in the next mail")
    forwarder_of.stop(again)
    last = forwarder_of(settings(server, interval=0.5))
    last.start()
    wait_until(lambda: last.queue.count_pending() == 0, "the second mail")
    assert len(server.mails) == 2


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_login_over_tls(forwarder_of, wait_until, tmp_path, pair, security):
    server = MailServer(pair, implicit=security == "tls", login=True)
    keys = {"security": security, "ca_file": str(tmp_path / "authority.pem"), "username": "box"}
    (tmp_path / "right").write_bytes(PASSWORD + b"\n")
    (tmp_path / "wrong").write_text("wrong")
    wrong = forwarder_of(settings(server, password_file=str(tmp_path / "wrong"), **keys), folder="wrong-state")
    wrong.outbox.put(make_event())
    wrong.start()
    wait_until(lambda: "refuses the login (535)" in wrong.figures().trouble, "the refusal")
    assert wrong.queue.count_dead_letters() == 0
    right = forwarder_of(settings(server, password_file=str(tmp_path / "right"), **keys))
    right.receiver.check()
    right.outbox.put(make_event())
    right.start()
    wait_until(lambda: right.queue.count_pending() == 0, "the mail")
    assert len(server.mails) == 1
    server.stop()


def test_no_mail_without_the_encryption_that_is_asked_for(forwarder_of, server, wait_until, tmp_path, pair):
    forwarder = forwarder_of(settings(server, security="starttls"))
    forwarder.outbox.put(make_event())
    forwarder.start()
    wait_until(lambda: "STARTTLS" in forwarder.figures().trouble, "the refusal")
    strange = MailServer(pair)
    other = forwarder_of(settings(strange, security="starttls"), folder="strange")  # an authority that nobody knows
    other.outbox.put(make_event())
    other.start()
    wait_until(lambda: "CERTIFICATE_VERIFY_FAILED" in other.figures().trouble, "the refusal")
    assert not server.mails
    assert not strange.mails
    strange.stop()


def test_temporary_refusals_are_tried_again_with_the_same_mail(forwarder_of, wait_until):
    answers = iter(["451 try again", "250 OK"])
    recipients = iter(["450 greylisted", "250 OK", "250 OK"])
    sent = []
    server = MailServer(
        answer=lambda envelope: sent.append(envelope.content) or next(answers), recipient=lambda _: next(recipients)
    )
    forwarder = forwarder_of(settings(server))
    forwarder.outbox.put(*map(make_event, range(3)))
    forwarder.start()
    wait_until(lambda: forwarder.queue.count_pending() == 0, "the mail")
    (got,) = server.mails
    assert len(sent) == 2
    assert all(got["Message-ID"].encode() in each for each in sent)
    assert forwarder.queue.count_dead_letters() == 0
    server.stop()


def test_permanent_refusals_are_dead_letters(forwarder_of, wait_until, tmp_path):
    """A mail that is too large goes without its picture; one that is refused all the same is a dead letter."""
    server = MailServer(answer=lambda envelope: "552 too large" if b"image/jpeg" in envelope.content else "250 OK")
    forwarder = forwarder_of(settings(server))
    event = with_thumbnail(make_event(), tmp_path / "evidence")
    forwarder.outbox.put(event)
    forwarder.start()
    wait_until(lambda: len(server.mails) == 1, "the mail without its picture")
    server.answer = lambda envelope: "554 5.7.1 looks like spam" if b"presence" in envelope.content else "250 OK"
    forwarder.outbox.put(make_event(1))
    wait_until(forwarder.queue.count_dead_letters, "the dead letter")
    wait_until(lambda: len(server.mails) == 2, "the report about it")
    assert "SMTP 554: 5.7.1 looks like spam" in text_of(server.mails[-1])
    server.stop()


def test_no_recipient_is_a_refusal_and_one_is_enough(forwarder_of, wait_until):
    server = MailServer(recipient=lambda address: "550 unknown" if address.startswith("nobody") else "250 OK")
    one = forwarder_of(msgspec.structs.replace(settings(server), to=("nobody@plant.example", "guard@plant.example")))
    one.outbox.put(make_event())
    one.start()
    wait_until(lambda: one.queue.count_pending() == 0, "the mail")
    assert server.envelopes[0].rcpt_tos == ["guard@plant.example"]
    none = forwarder_of(msgspec.structs.replace(settings(server), to=("nobody@plant.example",)), folder="none")
    none.outbox.put(make_event())
    none.start()
    wait_until(none.queue.count_dead_letters, "the dead letter")
    assert len(server.mails) == 1
    server.stop()


def test_a_thumbnail_that_is_gone_or_changed_is_told(forwarder_of, server, wait_until, tmp_path):
    changed = with_thumbnail(make_event(), tmp_path / "evidence", content=b"another")
    gone = with_thumbnail(make_event(1), tmp_path / "evidence")
    (tmp_path / "evidence" / f"{gone.id}.jpg").unlink()
    forwarder = forwarder_of(settings(server))
    forwarder.outbox.put(changed, gone)
    forwarder.start()
    wait_until(lambda: forwarder.queue.count_pending() == 0, "the mail")
    (got,) = server.mails
    assert not list(got.iter_attachments())
    assert f"No longer kept: the thumbnails of {changed.id}, {gone.id}" in text_of(got)


def test_thumbnails_stay_where_they_are_if_they_are_not_to_be_sent(forwarder_of, server, wait_until, tmp_path):
    forwarder = forwarder_of(settings(server, thumbnails=False))
    forwarder.outbox.put(with_thumbnail(make_event(), tmp_path / "evidence"))
    forwarder.start()
    wait_until(lambda: forwarder.queue.count_pending() == 0, "the mail")
    assert not list(server.mails[0].iter_attachments())
