"""Digital inputs and outputs of the device: `gpio:/dev/gpiochip0?trigger=17&results_ready=5&ok=6&ng=13`."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from ...config.configuration import Config
from ...distribution import require_module
from ...errors import ConfigProblem
from ...plugin_tables import parse_options, split_url
from . import LineAdapter
from .gpio_options import GpioOptions


def make_gpio_adapter(settings: Config) -> LineAdapter:
    """The adapter that `trigger.source` asks for.

    Raises:
        ConfigProblem: the URL is wrong, or does not fit the rest of `[trigger]`.
        MachineProblem: gpiod is not installed.
    """
    trigger = settings.trigger
    assert trigger is not None
    chip = unquote(split_url(trigger.source, "trigger.source").path)
    options = parse_options(urlsplit(trigger.source).query, GpioOptions, "trigger.source")
    if not chip:
        raise ConfigProblem("trigger.source: no chip", hint="write gpio:/dev/gpiochip0?trigger=17")
    if not options.trigger and trigger.source != trigger.outputs:
        raise ConfigProblem("trigger.source: no line for the trigger", hint="add trigger=LINE")
    if trigger.acknowledge and not options.acknowledge:
        hint = "add acknowledge=LINE, or take trigger.acknowledge out"
        raise ConfigProblem("trigger.source: no line for the acknowledgment", hint=hint)
    require_module("gpiod", "gpiod", "gpio", "trigger.source")
    from .gpio_adapter import GpioAdapter

    return GpioAdapter(chip, options, trigger.delay)
