"""deploy/monitoring: alert rules, dashboard and flow do what they promise in the programs that they are made for."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
from daemon_process import DaemonProcess
from mosquitto import BINARY, Mosquitto
from paths import ROOT, TESTS
from served_program import ServedProgram
from waiting import wait_for

from vedette.runtime.monitoring.prometheus import PrometheusCollector

MONITORING = ROOT / "deploy" / "monitoring"
DASHBOARD = MONITORING / "grafana-dashboard.json"
DASHBOARDS = [DASHBOARD, ROOT / "deploy" / "database" / "grafana-dashboard.json"]
GRAFANA_TYPES = ROOT / "build" / "grafana"
NODE_RED = ROOT / "build" / "node-red" / "node_modules" / "node-red" / "red.js"

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs promtool: apt-get install prometheus"
)
_METRIC = re.compile(r"\bvedette_\w+")
_UNDER_TEST = {"$box": ".*", "$camera": ".*", "$__rate_interval": "1m"}


def panels(dashboard: Path = DASHBOARD) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(dashboard.read_text())["panels"]
    return found


def queries() -> dict[str, list[str]]:
    """The queries of each panel, with the dashboard's variables as they are if all is chosen."""
    found = {}
    for panel in panels():
        texts = [target["expr"] for target in panel["targets"]]
        for variable, value in _UNDER_TEST.items():
            texts = [text.replace(variable, value) for text in texts]
        found[panel["title"]] = texts
    return found


def existing_metrics() -> set[str]:
    """Names as Prometheus stores them."""
    metrics = PrometheusCollector(dict).collect()
    return {f"{metric.name}_total" if metric.type == "counter" else metric.name for metric in metrics}


@needs_promtool
def test_alerts_fire_for_troubles_and_for_nothing_else() -> None:
    cases = TESTS / "deploy" / "prometheus-rules-test.yml"
    done = subprocess.run(["promtool", "test", "rules", cases], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_configuration_and_rules_are_valid() -> None:
    done = subprocess.run(
        ["promtool", "check", "config", MONITORING / "prometheus.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "14 rules found" in done.stdout


def test_rules_and_dashboard_ask_for_metrics_that_exist() -> None:
    rules = (MONITORING / "prometheus-rules.yml").read_text()
    in_rules = set(_METRIC.findall("\n".join(re.findall(r"expr: (.+)", rules))))
    in_panels = set(_METRIC.findall(json.dumps(queries())))
    assert in_rules <= existing_metrics()
    assert in_panels <= existing_metrics()
    assert len(in_panels) > 15


@pytest.mark.parametrize("dashboard", DASHBOARDS)
def test_panels_of_a_dashboard_do_not_overlap(dashboard: Path) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in panels(dashboard):
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, f"{panel['title']} lies over {taken.get((x, y))}"
                taken[x, y] = panel["title"]
    assert len({panel["id"] for panel in panels(dashboard)}) == len(panels(dashboard))


@pytest.mark.parametrize("path", DASHBOARDS)
@pytest.mark.skipif(not GRAFANA_TYPES.exists(), reason="needs grafana-foundation-sdk: tests/servers")
def test_grafana_knows_every_field_of_a_dashboard(path: Path) -> None:
    """Its published types read the dashboard and write it again: what they do not know would be missing."""
    program = (
        "import json, sys; from grafana_foundation_sdk.cog import plugins; plugins.register_default_plugins()\n"
        "from grafana_foundation_sdk.cog.encoder import JSONEncoder\n"
        "from grafana_foundation_sdk.models.dashboard import Dashboard\n"
        "print(JSONEncoder().encode(Dashboard.from_json(json.load(sys.stdin))))"
    )

    def read_and_written(text: str) -> Any:
        command = [sys.executable, "-c", program]
        environment = {"PYTHONPATH": str(GRAFANA_TYPES)}
        return json.loads(subprocess.run(command, input=text, capture_output=True, check=True, text=True,
                                         env=environment).stdout)  # fmt: skip

    dashboard = json.loads(path.read_text())
    assert list(missing(dashboard, read_and_written(json.dumps(dashboard)))) == []
    dashboard["panels"][0]["options"]["colorMod"] = "value"
    dashboard["panels"][1]["gridPos"]["z"] = 1
    unknown = sorted(missing(dashboard, read_and_written(json.dumps(dashboard))))
    assert unknown == ["/panels/0/options/colorMod", "/panels/1/gridPos/z"]


def missing(given: Any, got: Any, path: str = "") -> list[str]:
    """Where `got` lacks or changes what `given` has; what it adds does not matter."""
    if isinstance(given, dict) and isinstance(got, dict):
        return [
            place
            for key, value in given.items()
            for place in ([f"{path}/{key}"] if key not in got else missing(value, got[key], f"{path}/{key}"))
        ]
    if isinstance(given, list) and isinstance(got, list) and len(given) == len(got):
        return [
            place for number, pair in enumerate(zip(given, got, strict=True))
            for place in missing(*pair, f"{path}/{number}")
        ]  # fmt: skip
    return [] if given == got else [path]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs prometheus: apt-get install prometheus")
def test_prometheus_reads_a_daemon_evaluates_the_rules_and_answers_the_dashboard(
    daemon_process: DaemonProcess, line_images: Path, tmp_path: Path
) -> None:
    daemon_process.configure(f"file:{line_images}?fps=20&loop=true", "mqtt://127.0.0.1:1")
    daemon_process.amend("device", "hot = 1.0")
    daemon_process.append('[evidence]\nthumbnail = "jpeg"')
    daemon_process.start()
    wait_for(lambda: daemon_process.recorded() >= 4, "the daemon to run")

    def metrics_command(port: int) -> list[str | Path]:
        return [sys.executable, "-m", "vedette.runtime.cli", "metrics", "--config", daemon_process.folder,
                "--listen", f"127.0.0.1:{port}"]  # fmt: skip

    with ServedProgram(metrics_command, tmp_path / "metrics.log", "/metrics") as metrics:
        settings = (MONITORING / "prometheus.yml").read_text().replace("127.0.0.1:9464", f"127.0.0.1:{metrics.port}")
        (tmp_path / "prometheus.yml").write_text(
            "global: {evaluation_interval: 1s}\n" + settings.replace("scrape_interval: 15s", "scrape_interval: 1s")
        )
        shutil.copy(MONITORING / "prometheus-rules.yml", tmp_path)

        def prometheus_command(port: int) -> list[str | Path]:
            return ["prometheus", f"--config.file={tmp_path}/prometheus.yml",
                    f"--storage.tsdb.path={tmp_path}/series", f"--web.listen-address=127.0.0.1:{port}"]  # fmt: skip

        with ServedProgram(prometheus_command, tmp_path / "prometheus.log", "/-/ready") as prometheus:

            def ask(query: str) -> list[dict[str, Any]]:
                answer = json.loads(prometheus.request("/api/v1/query?" + urllib.parse.urlencode({"query": query})))
                results: list[dict[str, Any]] = answer["data"]["result"]
                return results

            wait_for(lambda: ask("rate(vedette_frames_total[1m]) > 0"), "two scrapes")
            wait_for(lambda: ask('ALERTS{alertname="VedetteBrokerUnreachable"}'), "the alert")
            (group,) = json.loads(prometheus.request("/api/v1/rules"))["data"]["groups"]
            assert {(rule["health"], rule.get("lastError", "")) for rule in group["rules"]} == {("ok", "")}
            states = {rule["name"] for rule in group["rules"] if rule["state"] != "inactive"}
            assert "VedetteBrokerUnreachable" in states
            assert not states & {"VedetteBoxUnreachable", "VedetteDaemonDown", "VedetteCameraSilent", "VedetteDrift"}
            empty = {title for title, texts in queries().items() for text in texts if not ask(text)}
            assert empty <= {"Temperature", "Camera opened again, in an hour"}, (
                "this machine has no thermometer, and no camera"
            )

            daemon_process.kill()
            wait_for(
                lambda: ask('ALERTS{alertname="VedetteDaemonDown", camera="door", alertstate="pending"}'),
                "the alert of a daemon that was killed",
            )


@pytest.mark.slow
@pytest.mark.skipif(not NODE_RED.exists(), reason="needs Node-RED: tests/servers")
@pytest.mark.skipif(BINARY is None, reason="needs mosquitto: apt-get install mosquitto")
def test_an_event_of_a_daemon_passes_through_node_red(
    daemon_process: DaemonProcess, mosquitto: Mosquitto, anomaly_build: Any, tmp_path: Path
) -> None:
    (tmp_path / "settings.js").write_text(
        f"module.exports = {{ uiHost: '127.0.0.1', userDir: '{tmp_path}', flowFile: 'flows.json', "
        "credentialSecret: false, telemetry: { enabled: false, updateNotification: false } };"
    )
    flow = json.loads((MONITORING / "node-red-flow.json").read_text())
    for node in flow:
        if node["type"] == "mqtt-broker":
            node["port"] = str(mosquitto.port)
        if node["type"] == "mqtt in":
            node["topic"] = node["topic"].replace("vedette/", "test/")

    def command(port: int) -> list[str | Path]:
        return ["node", NODE_RED, "--settings", tmp_path / "settings.js", "--port", str(port)]

    def alarms() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(node_red.request("/vedette/alarms"))
        return found

    with ServedProgram(command, tmp_path / "node-red.log", "/settings") as node_red:
        wait_for(lambda: "Started flows" in node_red.log.read_text(), "Node-RED's own start")
        node_red.request("/flows", flow, **{"Node-RED-Deployment-Type": "full"})
        assert json.loads(node_red.request("/flows")) == flow
        wait_for(lambda: "Connected to broker" in node_red.log.read_text(), "the broker in Node-RED")
        assert "missing types" not in node_red.log.read_text()
        assert alarms() == []
        folder = tmp_path / "part"
        folder.mkdir()
        shutil.copy(anomaly_build.split.defect[0], folder / "0.png")
        shutil.copy(anomaly_build.split.threshold[0], folder / "1.png")
        daemon_process.configure(f"file:{folder}?fps=0.05&loop=true", f"mqtt://127.0.0.1:{mosquitto.port}")
        daemon_process.start()
        wait_for(alarms, "an alarm")
        (alarm,) = alarms()
        assert (alarm["source"], alarm["rule"], alarm["label"]) == ("/plant/hall/line1/box/door", "presence", "anomaly")
        assert alarm["score"] > 0
        wait_for(lambda: not alarms(), "the end of the alarm", seconds=60)
