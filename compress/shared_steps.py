"""Steps of a build that do not depend on the device: made for the first device, and taken over for the next ones.

A step is known by its sentence and by what it is made of: the images, or the bytes of the model files. If two devices
get the same model files, these are tested once, and each bundle holds the figures that it would hold if it were built
alone. A step that depends on the device, or on what a model costs there, may not be run here.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, ParamSpec, TypeVar

from vedette.runtime.progress import Log, no_log

_Arguments = ParamSpec("_Arguments")
_ResultT = TypeVar("_ResultT")


class SharedSteps:
    """Results of steps, kept from one device to the next."""

    def __init__(self) -> None:
        self._results: dict[tuple[Hashable, str], tuple[str, Any]] = {}
        self._device = ""
        self._log: Log = no_log
        self.taken_over: dict[str, str] = {}
        """For the present device: the sentences of steps that were made before, each with the device of then."""

    def begin(self, device: str, log: Log) -> None:
        """Begin the build for a device.

        Args:
            device: its name
            log: receives the sentence of each step
        """
        self._device, self._log, self.taken_over = device, log, {}

    def run(
        self,
        key: Hashable,
        sentence: str,
        step: Callable[_Arguments, _ResultT],
        *arguments: _Arguments.args,
        **options: _Arguments.kwargs,
    ) -> _ResultT:
        """What `step` returns for the arguments, or has returned for an earlier device.

        Args:
            key: what the result depends on, beside the images and the goal
            sentence: what the step does
            step: does it
            arguments: for `step`
            options: for `step`, by name
        """
        if (key, sentence) in self._results:
            device, result = self._results[key, sentence]
            self.taken_over[sentence] = device
            self._log(f"{sentence}: as for {device}")
        else:
            self._log(sentence)
            result = step(*arguments, **options)
            self._results[key, sentence] = self._device, result
        known: _ResultT = result
        return known
