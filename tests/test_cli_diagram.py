"""`statews diagram`, as it is typed."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from statews.cli import main
from statews.diagram import CHARTS, Format, draw, lifecycle

DIAGRAMS = Path(__file__).parent.parent / "diagrams"


@pytest.mark.parametrize("kind", ["mermaid", "dot", "md"])
def test_a_text_is_printed(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagram", "--format", kind]) == 0
    assert capsys.readouterr() == (draw(lifecycle(), Format(kind)).decode(), "")


@pytest.mark.parametrize("machine", CHARTS)
def test_the_named_machine_is_printed(machine: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagram", "--machine", machine]) == 0
    assert capsys.readouterr() == (draw(CHARTS[machine](), Format.MERMAID).decode(), "")


def test_mermaid_is_printed_if_no_format_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagram"]) == 0
    assert capsys.readouterr().out.startswith("stateDiagram-v2\n")


def test_the_current_state_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagram", "--current", "backing-off"]) == 0
    assert "backing-off (current)" in capsys.readouterr().out


def test_the_current_state_of_the_named_machine_is_marked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["diagram", "--machine", "session", "--current", "detached"]) == 0
    assert "detached (current)" in capsys.readouterr().out


def test_one_format_goes_into_one_file_a_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diagram", "--format", "dot", "--out", str(tmp_path)]) == 0
    names = ["lifecycle.dot", "session.dot"]
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / name) for name in names]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


@pytest.mark.parametrize(
    ("arguments", "written"),
    [
        (["--machine", "session"], "session.dot"),
        (["--machine", "session", "--current", "ended"], "session.dot"),
        (["--current", "open"], "lifecycle.dot"),
    ],
)
def test_what_is_named_is_written_alone(
    arguments: list[str], written: str, tmp_path: Path
) -> None:
    assert main(["diagram", "--format", "dot", "--out", str(tmp_path), *arguments]) == 0
    assert [path.name for path in tmp_path.iterdir()] == [written]


def test_all_files_are_written_if_no_format_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pygraphviz")
    assert main(["diagram", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        str(tmp_path / f"{name}.{suffix}")
        for name in ("lifecycle", "session")
        for suffix in ("mmd", "dot", "md", "svg")
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
    (tmp_path / "session.svg").unlink()
    assert main(["diagram", "--check", str(tmp_path)]) == 1
    redraw = f"is stale: statews diagram --out {tmp_path}"
    assert capsys.readouterr().err.splitlines() == [
        f"statews: {tmp_path / name} {redraw}" for name in ("lifecycle.md", "session.svg")
    ]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "required: COMMAND (see statews -h)"),
        (["dance"], "'dance'"),
        (["diagram", "--format", "gif"], "'gif'"),
        (["diagram", "--machine", "lamp"], "'lamp'"),
        (["diagram", "--machine", "session", "--current", "open"], "its states are detached, "),
        (["diagram", "--check", "a", "--machine", "session"], "no --machine, no --format"),
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
