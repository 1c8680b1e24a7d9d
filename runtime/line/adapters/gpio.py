"""Digital inputs and outputs of the device: `gpio:/dev/gpiochip0?trigger=17&results_ready=5&ok=6&ng=13`."""

from __future__ import annotations

from importlib.util import find_spec
from urllib.parse import unquote, urlsplit

from ...config.configuration import Config
from ...errors import ConfigProblem, MachineProblem
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
    if find_spec("gpiod") is None:
        raise MachineProblem("trigger.source: gpiod is not installed", hint="pip install 'vedette[gpio]'")
    from .gpio_adapter import GpioAdapter

    return GpioAdapter(chip, options, trigger.delay)
