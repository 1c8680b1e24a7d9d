"""Builds for several devices in one run: a bundle for each, and a page that sets them side by side.

Each device is built by build.py as if it were the only one, in a folder of its own. What does not depend on the device
is made once and handed on: images, features and figures of trials, models of one design, and all that is measured of
the same model files (shared_steps.py); a search keeps the models that it has built in one folder for all devices. So a
further device costs what is really its own: the choice of a design by what designs cost there, and the verdict.

The page is written after each device. If the run is interrupted, the finished devices have complete bundles, and the
page names those that are missing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from vedette.devices import DeviceProfile
from vedette.runtime.progress import Log, Progress, no_log, no_progress

from . import build as single_build
from .build import BuildRequest, BuildResult
from .export import bundle_writer
from .report.device_comparison import DeviceComparison, DeviceFigures, render_html, render_json
from .shared_steps import SharedSteps


class DeviceBuilds(msgspec.Struct, frozen=True):
    """What a run has built."""

    page: Path
    """The devices side by side; the same for programs lies beside it, with the ending `.json`."""
    results: dict[str, BuildResult]
    """By device, in the order of the request."""
    comparison: DeviceComparison

    @property
    def goal_met(self) -> bool:
        """Whether no device misses its goal."""
        return all(result.goal_met for result in self.results.values())

    def to_json(self) -> dict[str, Any]:
        """What `vedette build --devices --json` prints: for each device what a build for it alone prints."""
        by_device = {name: result.to_json() for name, result in self.results.items()}
        return {"report": str(self.page), "goal_met": self.goal_met, "devices": by_device}


def build_for_devices(
    request: BuildRequest,
    profiles: Sequence[DeviceProfile],
    progress: Progress = no_progress,
    log: Log = no_log,
    finish: Callable[[BuildResult, str], BuildResult] = lambda result, _: result,
) -> DeviceBuilds:
    """Build `OUT/DEVICE/NAME.vedette` for each device, and `OUT/NAME-devices.html` with its `.json`.

    Args:
        request: what to build; its `profile` and its `work_folder` do not count
        profiles: the devices
        progress: shows the progress of long loops
        log: receives a line for each step
        finish: adds to the bundle of a device what else belongs in it

    Raises:
        ConfigProblem: as `build`; no device was built.
        MachineProblem: as `build` and `finish`; the devices before were built.
    """
    goal, _ = single_build.read_goal(request.goal_file)
    bundle_writer.check_output_folder(request.out)
    page = request.out / f"{goal.name}-devices.html"
    names, steps = [profile.name for profile in profiles], SharedSteps()
    results: dict[str, BuildResult] = {}
    columns: list[DeviceFigures] = []
    for number, profile in enumerate(profiles, 1):
        log(f"{profile.name}, {profile.title}: device {number} of {len(profiles)}")
        own = msgspec.structs.replace(
            request,
            out=request.out / profile.name,
            profile=profile,
            work_folder=request.out / f"{goal.name}.work",
        )
        started = time.process_time()
        result = results[profile.name] = finish(single_build.build(own, progress, log, steps), profile.name)
        columns.append(
            DeviceFigures(
                profile=profile,
                folder=profile.name,
                manifest=result.manifest,
                verdict=result.verdict,
                results=result.results,
                costs=result.costs,
                taken_over=dict(steps.taken_over),
                cpu_seconds=time.process_time() - started,
            )
        )
        comparison = DeviceComparison(tuple(columns), missing=tuple(names[number:]))
        for ending, content in ((".json", render_json(comparison)), (".html", render_html(comparison))):
            bundle_writer.write_output(page.with_suffix(ending), content)
    return DeviceBuilds(page, results, comparison)
