"""What the page costs: memory, first paint, and the frame rate of the daemon's writer with viewers (docs/page.md).

python tests/bench/page.py [--seconds 20]. Needs Chromium for the first paint. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from page_site import PageSite
from paths import ROOT

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
PAINTS = 7
FIRST_PAINT = """new Promise((resolve) => {
  const look = (list) => list.getEntriesByName("first-contentful-paint").forEach((each) => resolve(each.startTime));
  new PerformanceObserver(look).observe({ type: "paint", buffered: true });
})"""


def unit_environment() -> dict[str, str]:
    """The variables that the unit sets."""
    line = re.search(r"^Environment=(.*)$", (ROOT / "deploy" / "vedette-page.service").read_text(), re.MULTILINE)
    assert line is not None
    return dict(each.split("=") for each in line[1].split())


def memory_mb(process: int) -> tuple[float, float]:
    """Resident memory of a process and its private part, 10**6 bytes."""
    text = Path(f"/proc/{process}/smaps_rollup").read_text()
    figures = {name: 1.024e-3 * int(value) for name, value in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}
    return figures["Rss"], figures["Private_Clean"] + figures["Private_Dirty"]


def cpu_seconds(process: int) -> float:
    """CPU time of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def sign_in(base: str, token: str) -> urllib.request.OpenerDirector:
    """A client with a session."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    opener.addheaders = [("Accept", "text/html")]
    opener.open(f"{base}/sign-in", urllib.parse.urlencode({"secret": token}).encode()).read()
    return opener


def watch(opener: urllib.request.OpenerDirector, base: str, viewers: int, seconds: float) -> float:
    """Pictures a second of several viewers together, each asking for the next one as live.js does."""
    pictures, started = 0, time.monotonic()
    while time.monotonic() - started < seconds:
        for viewer in range(viewers):
            pictures += opener.open(f"{base}/live/belt/picture?viewer={viewer:032x}").status == 200
        time.sleep(0.1)
    return pictures / (time.monotonic() - started)


def measure_paints(link: str, base: str) -> dict[str, float]:
    """Median milliseconds from the start of the navigation to the first paint of something, by view."""
    from playwright.sync_api import sync_playwright

    found: dict[str, float] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.goto(link)
        page.wait_for_url("**/live/*")
        for view in ("live/belt", "events", "health", "draw/belt", "threshold/belt"):
            times = []
            for _ in range(PAINTS):
                page.goto(f"{base}/{view}")
                times.append(page.evaluate(FIRST_PAINT))
            found[view] = round(median(times), 1)
        browser.close()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    seconds = parser.parse_args().seconds
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        site = PageSite(Path(folder) / "configuration", events=200, cameras=("belt",))
        site.store_scores("belt")
        path = site.folder / "vedette.toml"
        path.write_text(path.read_text().replace("127.0.0.1:8080", f"127.0.0.1:{20000 + os.getpid() % 20000}"))
        command = [sys.executable, "-m", "vedette.runtime.cli", "page", "--config", str(site.folder)]
        started, environment = time.monotonic(), os.environ | unit_environment()
        with (
            site.running(),
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process,
        ):
            try:
                assert process.stdout is not None
                link = process.stdout.readline().split()[-1]
                results["seconds_to_start"] = round(time.monotonic() - started, 2)
                base, _, token = link.replace("/sign-in", "").partition("#")
                results["mb_at_rest"], results["private_mb_at_rest"] = memory_mb(process.pid)
                opener = sign_in(base, token)
                for view in ("live/belt", "events", "health", "events/export.csv", "draw/belt", "threshold/belt"):
                    opener.open(f"{base}/{view}").read()
                results["mb_after_views"], _ = memory_mb(process.pid)
                before = cpu_seconds(process.pid)
                results["pictures_per_second_of_two"] = round(watch(opener, base, 2, seconds), 1)
                results["cpu_share_with_two"] = round((cpu_seconds(process.pid) - before) / seconds, 3)
                results["mb_with_two_viewers"], results["private_mb_with_two_viewers"] = memory_mb(process.pid)
                if Path(CHROMIUM).exists():
                    results["first_paint_ms"] = measure_paints(link, base)
            finally:
                process.terminate()
    for name, value in results.items():
        if "mb_" in name:
            results[name] = round(value, 1)
    sys.stdout.write(f"{json.dumps(results, indent=2)}\n")


if __name__ == "__main__":
    main()
