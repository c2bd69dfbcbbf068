"""The files of a chart: rendered, kept, and found stale."""

from __future__ import annotations

import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from shutil import which

import pytest

from statews.diagram import CHARTS, KEPT, Format, draw, lifecycle, png, stale, svg, write
from statews.errors import UsageError

DIAGRAMS = Path(__file__).parent.parent / "diagrams"
TEXTS = (Format.MERMAID, Format.DOT, Format.MARKDOWN)
CHART = lifecycle()

needs_graphviz = pytest.mark.skipif(
    find_spec("pygraphviz") is None and which("dot") is None, reason="there is no Graphviz"
)
needs_scripts = pytest.mark.skipif(os.name == "nt", reason="a fake program is a shell script")


@pytest.mark.parametrize("machine", CHARTS)
def test_the_kept_diagrams_show_the_machines_that_run(machine: str) -> None:
    assert stale(CHARTS[machine](), DIAGRAMS) == [], "make diagrams draws them anew"


def test_no_diagram_is_kept_of_another_machine() -> None:
    kept = {path.stem for path in DIAGRAMS.iterdir()}
    assert kept == {chart().name for chart in CHARTS.values()}


def kept_copy(directory: Path) -> Path:
    for kept in DIAGRAMS.iterdir():
        (directory / kept.name).write_bytes(kept.read_bytes())
    return directory


def without_graphviz(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """No pygraphviz, and nothing on the PATH but what is in this directory."""
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    monkeypatch.setenv("PATH", str(path))


@pytest.mark.parametrize("suffix", ["mmd", "dot", "md"])
def test_a_changed_text_is_stale(tmp_path: Path, suffix: str) -> None:
    changed = kept_copy(tmp_path) / f"lifecycle.{suffix}"
    changed.write_text(changed.read_text() + "\n")
    assert stale(CHART, tmp_path) == [changed]


def test_an_svg_of_another_machine_is_stale(tmp_path: Path) -> None:
    changed = kept_copy(tmp_path) / "lifecycle.svg"
    changed.write_text(re.sub(r"sha256 \w+", f"sha256 {'0' * 64}", changed.read_text()))
    assert stale(CHART, tmp_path) == [changed]


def test_a_missing_file_is_stale(tmp_path: Path) -> None:
    assert [path.name for path in stale(CHART, tmp_path / "nowhere")] == [
        "lifecycle.mmd",
        "lifecycle.dot",
        "lifecycle.md",
        "lifecycle.svg",
    ]


def test_a_checkout_with_other_line_ends_is_not_stale(tmp_path: Path) -> None:
    for kept in kept_copy(tmp_path).iterdir():
        kept.write_bytes(kept.read_bytes().replace(b"\n", b"\r\n"))
    assert stale(CHART, tmp_path) == []


def test_staleness_is_found_without_graphviz(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_graphviz(monkeypatch, tmp_path)
    assert stale(CHART, DIAGRAMS) == []
    assert len(stale(CHART, tmp_path)) == len(KEPT)


@needs_graphviz
@pytest.mark.parametrize("machine", CHARTS)
def test_what_was_written_is_not_stale(tmp_path: Path, machine: str) -> None:
    chart = CHARTS[machine]()
    written = write(chart, tmp_path / "new" / "diagrams")
    assert [path.suffix for path in written] == [".mmd", ".dot", ".md", ".svg"]
    assert stale(chart, tmp_path / "new" / "diagrams") == []


@needs_graphviz
def test_a_marked_picture_is_stale(tmp_path: Path) -> None:
    assert stale(CHART, tmp_path) == write(CHART, tmp_path, current="open")


@needs_graphviz
def test_a_png_is_one() -> None:
    assert png(CHART).startswith(b"\x89PNG\r\n")


@pytest.mark.parametrize("kind", [Format.SVG, Format.PNG])
def test_without_graphviz_both_ways_to_get_it_are_named(
    kind: Format, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_graphviz(monkeypatch, tmp_path)
    with pytest.raises(
        UsageError, match=rf"{kind} .*statews\[diagrams\], or .* dot is on the PATH"
    ):
        draw(CHART, kind)


def test_nothing_is_written_if_not_all_can_be_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_graphviz(monkeypatch, tmp_path)
    with pytest.raises(UsageError, match="without Graphviz"):
        write(CHART, tmp_path / "diagrams")
    assert not (tmp_path / "diagrams").exists()


def test_a_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"cannot write to .*file: "):
        write(CHART, tmp_path / "file", kinds=TEXTS)


def fake_dot(directory: Path, script: str) -> None:
    program = directory / "dot"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@needs_scripts
def test_dot_on_the_path_draws_where_pygraphviz_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_dot(tmp_path, 'read first; echo "<svg>$1 $first</svg>"')
    without_graphviz(monkeypatch, tmp_path)
    assert svg(CHART).startswith('<svg>-Tsvg digraph "lifecycle" {</svg>\n<!-- drawn from DOT')


@needs_scripts
def test_what_dot_complains_about_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_dot(tmp_path, "echo no such layout >&2; exit 3")
    without_graphviz(monkeypatch, tmp_path)
    with pytest.raises(UsageError, match="dot cannot draw: no such layout"):
        png(CHART)
