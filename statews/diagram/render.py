"""A chart as a picture, SVG or PNG, drawn by Graphviz from its DOT source."""

from __future__ import annotations

import subprocess
from hashlib import sha256
from importlib import import_module
from shutil import which
from typing import Literal

from ..errors import UsageError
from .chart import Chart
from .dot import dot

__all__ = ["digest", "png", "svg"]


def svg(chart: Chart, *, current: str | None = None) -> str:
    """The picture as SVG, with the digest of its DOT source in a comment.

    Args:
        chart: what is drawn.
        current: the state to mark as the present one.

    Raises:
        UsageError: `current` is no state of the chart, or there is no Graphviz.
    """
    source = dot(chart, current=current)
    return f"{_drawn(source, 'svg').decode().rstrip()}\n<!-- {digest(source)} -->\n"


def png(chart: Chart, *, current: str | None = None) -> bytes:
    """The picture as PNG.

    Args:
        chart: what is drawn.
        current: the state to mark as the present one.

    Raises:
        UsageError: `current` is no state of the chart, or there is no Graphviz.
    """
    return _drawn(dot(chart, current=current), "png")


def digest(source: str) -> str:
    """What an SVG says of its DOT source, so that a stale one is found without Graphviz."""
    return f"drawn from DOT with sha256 {sha256(source.encode()).hexdigest()}"


def _drawn(source: str, kind: Literal["svg", "png"]) -> bytes:
    try:
        graphviz = import_module("pygraphviz")
    except ImportError:
        return _drawn_by_program(source, kind)
    picture: bytes = graphviz.AGraph(string=source).draw(format=kind, prog="dot")
    return picture


def _drawn_by_program(source: str, kind: Literal["svg", "png"]) -> bytes:
    program = which("dot")
    if program is None:
        raise UsageError(
            f"cannot draw {kind} without Graphviz: install statews[diagrams],"
            " or Graphviz itself, so that dot is on the PATH"
        )
    command = [program, f"-T{kind}"]
    done = subprocess.run(command, input=source.encode(), capture_output=True, check=False)  # noqa: S603 - found on the PATH
    if done.returncode != 0:
        raise UsageError(f"{program} cannot draw: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
