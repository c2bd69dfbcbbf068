"""`statews diagram`: the machines that run, drawn."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Final

from ..diagram import CHARTS, KEPT, Chart, Format, draw, stale, write
from ..errors import UsageError
from .command import Command

__all__ = ["DIAGRAM"]

_EXAMPLES: Final = """\
examples:
  statews diagram                               the Mermaid source, on the terminal
  statews diagram --format svg > lifecycle.svg  a picture (needs statews[diagrams] or Graphviz)
  statews diagram --current backing-off         with the present state marked
  statews diagram --machine session             the life of a session
  statews diagram --out diagrams                all files: .mmd, .dot, .md and .svg
  statews diagram --check diagrams              whether these files show the machines that run
"""


_CONNECTION: Final = "connection"


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--machine",
        choices=list(CHARTS),
        help="which one to draw: connection by default, all with --out and --check",
    )
    parser.add_argument(
        "--format",
        choices=[kind.value for kind in Format],
        help="what to draw it as: mermaid by default, all but png with --out",
    )
    parser.add_argument("--current", metavar="STATE", help="mark this state as the present one")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--out", metavar="DIR", type=Path, help="write files into this directory")
    where.add_argument(
        "--check",
        metavar="DIR",
        type=Path,
        help="name the stale files of this directory and exit with 1 if there are any",
    )


def _run(arguments: Namespace) -> int:
    kind = None if arguments.format is None else Format(arguments.format)
    machine: str | None = arguments.machine
    current: str | None = arguments.current
    out: Path | None = arguments.out
    check: Path | None = arguments.check
    if check is not None:
        if (kind, machine, current) != (None, None, None):
            wrong = "no --machine, no --format and no --current"
            raise UsageError(f"--check looks at whole directories: {wrong}")
        return _check(check)
    if out is not None:
        return _write(_meant(machine, current), out, (kind,) if kind else KEPT, current)
    return _print(CHARTS[machine or _CONNECTION](), kind or Format.MERMAID, current)


def _meant(machine: str | None, current: str | None) -> list[Chart]:
    """What is drawn into files: all, unless a machine, or a state of one, is named."""
    if machine is None and current is None:
        return [chart() for chart in CHARTS.values()]
    return [CHARTS[machine or _CONNECTION]()]


def _check(directory: Path) -> int:
    found = [path for chart in CHARTS.values() for path in stale(chart(), directory)]
    for path in found:
        sys.stderr.write(f"statews: {path} is stale: statews diagram --out {directory}\n")
    return 1 if found else 0


def _write(
    charts: list[Chart], directory: Path, kinds: tuple[Format, ...], current: str | None
) -> int:
    for chart in charts:
        for path in write(chart, directory, kinds=kinds, current=current):
            sys.stdout.write(f"{path}\n")
    return 0


def _print(chart: Chart, kind: Format, current: str | None) -> int:
    if kind is Format.PNG:
        raise UsageError("png is no text: name a directory with --out")
    sys.stdout.write(draw(chart, kind, current=current).decode())
    return 0


DIAGRAM: Final = Command(
    name="diagram",
    help="draw the lifecycle of a connection or a session",
    description="Draw the lifecycle of a connection or a session, from the machine that runs.",
    examples=_EXAMPLES,
    add_arguments=_add_arguments,
    run=_run,
)
