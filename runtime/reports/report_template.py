"""Pages of reports: one HTML file each, which fetches nothing. They need Jinja, which the extra `page` brings."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from ..distribution import install_command
from ..errors import MachineProblem


def render_report(template: str, **values: Any) -> bytes:
    """A page, self-contained.

    Args:
        template: name of the file in `templates/`
        values: for the template

    Raises:
        MachineProblem: Jinja is not installed.
    """
    page: str = _environment().get_template(template).render(**values)
    return page.encode()


@cache
def _environment() -> Any:
    try:
        import jinja2
    except ModuleNotFoundError:
        hint = f"{install_command('page')}; text and JSON need nothing more"
        raise MachineProblem("a page of a report needs Jinja, which is missing", hint=hint) from None
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (files(__package__) / "templates" / name).read_text()),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["percent"] = format_percent
    environment.filters["range"] = format_interval
    environment.filters["kappa"] = format_kappa
    return environment


def format_percent(share: float | None) -> str:
    """A share as `12.5 %`; a dash if there is none."""
    return "–" if share is None else f"{share:.1%}".replace("%", " %")


def format_interval(interval: tuple[float, float] | None) -> str:
    """An interval of a share as `1.3 … 17.2 %`."""
    return "–" if interval is None else f"{100 * interval[0]:.1f} … {100 * interval[1]:.1f} %"


def format_kappa(value: float | None) -> str:
    """A kappa with three digits."""
    return "undefined" if value is None else f"{value:.3f}"
