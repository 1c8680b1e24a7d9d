"""The daemon with sinks beside the broker, or with them alone: real HTTP and SMTP servers, and SIGKILL at random."""

from __future__ import annotations

import json
import random
import signal
import time
from functools import partial

import msgspec
import pytest
from auditor import PersistentSubscriber
from click.testing import CliRunner
from mail_server import MailServer, text_of
from mosquitto import BINARY, Mosquitto
from prometheus_client import CollectorRegistry, generate_latest
from webhook_server import WebhookServer

from vedette.runtime.commands.outbox import outbox
from vedette.runtime.monitoring.doctor_checks import run_checks
from vedette.runtime.monitoring.prometheus import PrometheusCollector
from vedette.runtime.monitoring.status import request_status

KILL_SECONDS = 60
ENOUGH_EVENTS, MOST_KILLS = 100, 200  # a busy machine needs more time for the events


@pytest.fixture
def servers():
    """A webhook server and a mail server."""
    webhook, mail = WebhookServer(), MailServer()
    yield webhook, mail
    webhook.stop()
    mail.stop()


def add_sinks(daemon, webhook, mail, interval=0.0):
    """Adds both to the configuration of a daemon."""
    path = daemon.folder / "vedette.toml"
    (daemon.folder / "secret").write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    (daemon.folder / "secret").chmod(0o600)
    path.write_text(
        f'{path.read_text()}\n[[sinks]]\nuse = "webhook"\nname = "alerts"\nurl = "{webhook.url}"\n'
        'secret_file = "secret"\n'
        f'[[sinks]]\nuse = "smtp"\nhost = "127.0.0.1"\nport = {mail.port}\nsecurity = "none"\n'
        f'from = "box@plant.example"\nto = ["guard@plant.example"]\ninterval = {interval}\n'
    )


def outbox_command(daemon, *arguments):
    done = CliRunner().invoke(outbox, [*arguments, "door", "--config", str(daemon.folder), "--json"])
    return json.loads(done.output)


@pytest.mark.build
def test_a_device_without_a_broker(daemon_process, line_images, servers, wait_until):
    """Sinks alone: events arrive, one sink that refuses them all stops nothing, and every view tells it."""
    webhook, mail = servers
    daemon_process.configure(f"file:{line_images}?fps=20&loop=true", "none:")
    add_sinks(daemon_process, webhook, mail)
    found = {each.what: each for each in run_checks(daemon_process.folder, "door")}
    assert found["sink alerts"].works
    assert found["sink smtp"].works
    mail.answer = lambda _: "554 no"
    process = daemon_process.start()
    state = daemon_process.outbox.parent
    wait_until(lambda: len(webhook.requests) > 10, "the events", seconds=60)
    wait_until(lambda: (request_status(state) or msgspec.Raw).sinks[1].dead, "the refused mails")
    report = request_status(state)
    alerts, smtp = report.sinks
    assert (alerts.name, alerts.connected, alerts.dead) == ("alerts", True, 0)
    assert alerts.delivered > 5
    assert any(fault.startswith("the sink smtp refuses") for fault in report.faults)
    registry = CollectorRegistry()
    registry.register(PrometheusCollector(lambda: {"door": report}))
    metrics = generate_latest(registry).decode()
    assert f'vedette_sink_dead_events{{camera="door",sink="smtp"}} {smtp.dead}.0' in metrics
    assert 'vedette_sink_connected{camera="door",sink="alerts"} 1.0' in metrics
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0, daemon_process.log()
    assert outbox_command(daemon_process, "list")["sinks"]["alerts"] == {"waiting": 0, "dead": 0}
    dead = outbox_command(daemon_process, "dead")
    assert {each["sink"] for each in dead} == {"smtp"}
    assert dead[0]["refused"] == "SMTP 554: no"
    assert sorted(set(webhook.sequences)) == list(range(1, daemon_process.recorded() + 1))
    mail.answer = lambda _: "250 OK"
    daemon_process.configure(f"file:{line_images}?fps=0", "none:")
    add_sinks(daemon_process, webhook, mail)
    daemon_process.amend("outbox", "drain = 20.0")
    assert daemon_process.start().wait(60) == 0, daemon_process.log()
    texts = "".join(map(text_of, mail.mails))
    news = [each.event["id"] for each in webhook.requests if each.event["type"] == "vedette.presence.new"]
    assert all(identifier in texts for identifier in news), "the dead letters, too"


def has_more_events(daemon_process, so_far):
    return daemon_process.recorded() > so_far


@pytest.mark.slow
@pytest.mark.skipif(BINARY is None, reason="needs mosquitto: apt-get install mosquitto")
def test_no_event_is_lost_in_any_sink_when_all_are_killed(
    daemon_process, line_images, servers, tmp_path, record_proof, wait_until
):
    """The daemon, the broker and the webhook's server are killed at random; the mail server refuses at random."""
    webhook, mail = servers
    rng = random.Random(2)
    mail.answer = lambda _: "250 OK" if rng.random() < 0.7 else "451 later"
    webhook.reply = lambda _: [(200, {}), (503, {}), None][rng.choices([0, 1, 2], [18, 1, 1])[0]]
    broker = Mosquitto(tmp_path / "broker")
    broker.start()
    subscriber = PersistentSubscriber(broker.port)
    url = f"mqtt://127.0.0.1:{broker.port}"
    daemon_process.configure(f"file:{line_images}?fps=60&loop=true", url)
    add_sinks(daemon_process, webhook, mail, interval=1.0)
    process, kills = daemon_process.start(), {"daemon": 0, "broker": 0, "webhook": 0}
    until = time.monotonic() + KILL_SECONDS
    while time.monotonic() < until or (daemon_process.recorded() <= ENOUGH_EVENTS and sum(kills.values()) < MOST_KILLS):
        time.sleep(rng.uniform(0.6, 3.0))
        target = rng.choices(list(kills), [6, 2, 3])[0]
        kills[target] += 1
        if target == "daemon":
            wait_until(partial(has_more_events, daemon_process, daemon_process.recorded()), "a new event")
            process.kill()
            process.wait()
            process = daemon_process.start()
        else:
            server = broker if target == "broker" else webhook
            server.kill() if server is broker else server.stop()
            time.sleep(rng.uniform(0, 1.0))
            server.start()
    process.kill()
    process.wait()
    mail.answer, webhook.reply = lambda _: "250 OK", lambda _: (200, {})
    daemon_process.configure(f"file:{line_images}?fps=0", url)
    add_sinks(daemon_process, webhook, mail)
    daemon_process.amend("outbox", "drain = 60.0")
    assert daemon_process.start().wait(120) == 0, daemon_process.log()
    recorded = daemon_process.recorded()
    expected = set(range(1, recorded + 1))
    wait_until(lambda: expected <= set(subscriber.numbers), "the broker's last messages")
    broker.kill()
    subscriber.close()
    texts = "".join(map(text_of, mail.mails))
    news = {each["id"] for each in subscriber.events if each["type"] == "vedette.presence.new"}
    lost = {
        "broker": len(expected - set(subscriber.numbers)),
        "webhook": len(expected - set(webhook.sequences)),
        "mail": sum(identifier not in texts for identifier in news),
    }
    twice = {
        "broker_twice": len(subscriber.numbers) - len(set(subscriber.numbers)),
        "webhook_twice": len(webhook.sequences) - len(set(webhook.sequences)),
    }
    first_come = list(dict.fromkeys(webhook.sequences))
    figures = {"events": recorded, "mails": len(mail.mails), **twice, **kills}
    record_proof(sum(kills.values()), sum(lost.values()), **figures)
    assert not any(lost.values()), lost
    assert first_come == sorted(first_come), "in order"
    assert recorded > ENOUGH_EVENTS
    assert kills["daemon"] >= 5
