"""The formats of a chart, and the files it is kept in."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Final

from typing_extensions import assert_never

from ..errors import UsageError
from .chart import Chart
from .dot import dot
from .markdown import markdown
from .mermaid import mermaid
from .render import digest, png, svg

__all__ = ["KEPT", "Format", "draw", "stale", "write"]


class Format(str, Enum):
    """What a chart can be drawn as."""

    MERMAID = "mermaid"
    DOT = "dot"
    MARKDOWN = "md"
    SVG = "svg"
    PNG = "png"

    __str__ = str.__str__


# PNG is left out: whoever needs one makes one, and nothing tells when it is stale.
KEPT: Final = (Format.MERMAID, Format.DOT, Format.MARKDOWN, Format.SVG)


def draw(chart: Chart, kind: Format, *, current: str | None = None) -> bytes:
    """A chart in one of the formats, as a file holds it; text is UTF-8.

    Args:
        chart: what is drawn.
        kind: the format. SVG and PNG need Graphviz.
        current: the state to mark as the present one.

    Raises:
        UsageError: `current` is no state of the chart, or there is no Graphviz.
    """
    match kind:
        case Format.MERMAID:
            return mermaid(chart, current=current).encode()
        case Format.DOT:
            return dot(chart, current=current).encode()
        case Format.MARKDOWN:
            return markdown(chart, current=current).encode()
        case Format.SVG:
            return svg(chart, current=current).encode()
        case Format.PNG:
            return png(chart, current=current)
        case _:
            assert_never(kind)


def write(
    chart: Chart,
    directory: Path,
    *,
    kinds: tuple[Format, ...] = KEPT,
    current: str | None = None,
) -> list[Path]:
    """Draw a chart into `<name>.mmd`, `.dot`, `.md` and `.svg`, and return their paths.

    Either all are drawn, or none is written.

    Args:
        chart: what is drawn.
        directory: where to; made if it is not there.
        kinds: the formats.
        current: the state to mark as the present one.

    Raises:
        UsageError: `current` is no state of the chart, there is no Graphviz, or the directory
            cannot be written to.
    """
    drawn = {_path(chart, directory, kind): draw(chart, kind, current=current) for kind in kinds}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for path, content in drawn.items():
            path.write_bytes(content)
    except OSError as error:
        raise UsageError(f"cannot write to {directory}: {error.strerror}") from error
    return list(drawn)


def stale(chart: Chart, directory: Path) -> list[Path]:
    """The files of a chart that are missing or show another machine. Needs no Graphviz.

    Args:
        chart: what should have been drawn.
        directory: where `write` wrote to.
    """
    return [
        path for kind in KEPT if not _is_fresh(chart, kind, path := _path(chart, directory, kind))
    ]


def _is_fresh(chart: Chart, kind: Format, path: Path) -> bool:
    try:
        found = path.read_bytes().replace(b"\r\n", b"\n")  # as git on Windows checks out
    except OSError:
        return False
    if kind is Format.SVG:
        return digest(dot(chart)).encode() in found
    return found == draw(chart, kind)


def _path(chart: Chart, directory: Path, kind: Format) -> Path:
    suffix = "mmd" if kind is Format.MERMAID else kind.value
    return directory / f"{chart.name}.{suffix}"
