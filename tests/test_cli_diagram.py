"""`statews diagram`, as it is typed."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from statews.cli import main
from statews.diagram import Format, draw, lifecycle

DIAGRAMS = Path(__file__).parent.parent / "diagrams"


@pytest.mark.parametrize("kind", ["mermaid", "dot", "md"])
def test_a_text_is_printed(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagram", "--format", kind]) == 0
    assert capsys.readouterr() == (draw(lifecycle(), Format(kind)).decode(), "")


def test_mermaid_is_printed_if_no_format_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagram"]) == 0
    assert capsys.readouterr().out.startswith("stateDiagram-v2\n")


def test_the_current_state_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagram", "--current", "backing-off"]) == 0
    assert "backing-off (current)" in capsys.readouterr().out


def test_one_format_goes_into_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagram", "--format", "dot", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'lifecycle.dot'}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["lifecycle.dot"]


def test_all_files_are_written_if_no_format_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pygraphviz")
    assert main(["diagram", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        str(tmp_path / f"lifecycle.{suffix}") for suffix in ("mmd", "dot", "md", "svg")
    ]
    assert main(["diagram", "--check", str(tmp_path)]) == 0


def test_check_is_silent_if_nothing_is_stale(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagram", "--check", str(DIAGRAMS)]) == 0
    assert capsys.readouterr() == ("", "")


def test_check_names_what_is_stale_and_what_draws_it_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kept in DIAGRAMS.iterdir():
        (tmp_path / kept.name).write_bytes(kept.read_bytes())
    (tmp_path / "lifecycle.md").unlink()
    assert main(["diagram", "--check", str(tmp_path)]) == 1
    assert capsys.readouterr() == (
        "",
        f"statews: {tmp_path / 'lifecycle.md'} is stale: statews diagram --out {tmp_path}\n",
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "required: COMMAND (see statews -h)"),
        (["dance"], "'dance'"),
        (["diagram", "--format", "gif"], "'gif'"),
        (["diagram", "--format", "png"], "png is no text: name a directory with --out"),
        (["diagram", "--current", "lost"], "no state 'lost': its states are idle, connecting, "),
        (["diagram", "--out", "a", "--check", "a"], "not allowed with"),
        (["diagram", "--check", "a", "--format", "dot"], "no --format and no --current"),
        (["diagram", "--check", "a", "--current", "open"], "no --format and no --current"),
    ],
)
def test_a_wrong_use_is_one_line_and_status_2(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("statews: ")
    assert err.count("\n") == 1
    assert complaint in err


@pytest.mark.parametrize("arguments", [["-h"], ["diagram", "-h"]])
def test_help_is_printed(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main(arguments)
    assert "diagram" in capsys.readouterr().out


def test_the_package_runs_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "statews", "diagram", "--format", "dot"],
        capture_output=True,
        check=True,
        text=True,
    )
    assert done.stdout.startswith('digraph "lifecycle" {\n')


def test_importing_the_program_runs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    importlib.import_module("statews.__main__")
    assert capsys.readouterr() == ("", "")
