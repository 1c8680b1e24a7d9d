"""The manual page and the shell completions, from what the commands say of themselves."""

from __future__ import annotations

import re
from importlib import import_module

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from vedette.runtime.cli import DEPLOY_COMMANDS, DEVICE_COMMANDS, WORKSHOP_COMMANDS, vedette

COMPLETIONS: dict[str, type[ShellComplete]] = {
    "usr/share/bash-completion/completions/vedette": BashComplete,
    "usr/share/zsh/vendor-completions/_vedette": ZshComplete,
    "usr/share/fish/vendor_completions.d/vedette.fish": FishComplete,
}
FILES = """\
.SH FILES
.TP
.I /etc/vedette/vedette.toml
what all cameras of the box have in common
.TP
.I /etc/vedette/cameras/NAME.toml
one camera, for
.B systemctl enable \\-\\-now vedette@NAME
.TP
.I /etc/vedette/keys/*.pub
public keys of those whose bundles are trusted
.TP
.I /var/lib/vedette
events that were not delivered yet, and installed bundles
.SH SEE ALSO
.BR systemctl (1),
.IR /usr/share/doc/PACKAGE/README.md ,
.I /usr/share/doc/PACKAGE/docs/config.md
"""


def completion(path: str) -> str:
    """The completion script for the shell that reads `path`."""
    return COMPLETIONS[path](vedette, {}, "vedette", "_VEDETTE_COMPLETE").source() + "\n"


def manual_page(version: str, date: str, package: str) -> str:
    """vedette(1), in roff."""
    context = click.Context(vedette, info_name="vedette")
    lines = [f'.TH VEDETTE 1 "{date}" "Vedette {version}" "User Commands"', ".SH NAME"]
    lines += ["vedette \\- defect and anomaly detection on cheap boxes", ".SH SYNOPSIS"]
    lines += [".B vedette", ".I COMMAND", "[\\fIOPTION\\fR...] [\\fIARGUMENT\\fR...]", ".SH DESCRIPTION"]
    lines += [*_paragraphs(vedette.help or ""), ".SH COMMANDS"]
    for name in [*DEVICE_COMMANDS, *DEPLOY_COMMANDS]:
        place = "runtime" if name in DEVICE_COMMANDS else "deploy"
        module = name.replace("-", "_")
        command = getattr(import_module(f"vedette.{place}.commands.{module}"), module)
        lines += _describe(command, click.Context(command, parent=context, info_name=name))
    lines += [".SH COMMANDS OF THE WORKSHOP", "These need the Python package with its extra \\(lqcompress\\(rq."]
    for name, what in WORKSHOP_COMMANDS.items():
        lines += [".TP", f".B vedette {_escape(name)}", _escape(what)]
    return "\n".join(lines) + "\n" + FILES.replace("PACKAGE", package)


def _describe(command: click.Command, context: click.Context) -> list[str]:
    """A command, and then those that it groups."""
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [f".SS {_escape(context.command_path)} {_escape(usage)}", *_paragraphs(command.help or "")]
    for parameter in command.get_params(context):
        if record := parameter.get_help_record(context):
            lines += [".TP", f".B {_escape(record[0])}", _escape(record[1])]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            each = command.get_command(context, name)
            if each and not each.hidden:
                lines += _describe(each, click.Context(each, parent=context, info_name=name))
    return lines


def _paragraphs(text: str) -> list[str]:
    """The paragraphs of a help text; click keeps the lines of one that begins with a backspace."""
    lines: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text.partition("\f")[0].strip()):
        rows = [row.strip() for row in paragraph.strip().split("\n")]
        if rows[0] == "\b":
            lines += [".PP", ".nf", *map(_escape, rows[1:]), ".fi"]
        else:
            lines += [".PP", _escape(" ".join(rows))]
    return lines


def _escape(text: str) -> str:
    """Text as roff prints it, with no line that would be a request."""
    text = text.replace("\\", "\\e").replace("-", "\\-").strip()
    return f"\\&{text}" if text[:1] in (".", "'") else text
