"""`statews demo`, as it is typed: what it plays, and what it makes of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import anyio
import pytest

from statews import Outbox, State, StatewsError
from statews.cli import main
from statews.cli.demo import command as demo
from statews.cli.demo import play, stage
from statews.cli.demo.logbook import number_of
from statews.cli.demo.names import FIRST
from statews.cli.demo.observed import Observed
from statews.cli.demo.pace import QUICK
from statews.cli.demo.stage import Stage
from statews.cli.demo.steps import STEPS

BY_NAME = {step.name: step for step in STEPS}
STATEWS = [sys.executable, "-m", "statews"]
DEADLINE = 100.0  # seconds for a whole demo, however busy the machine is


def run_demo(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        [*STATEWS, "demo", "--quick", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=DEADLINE,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
    )


@pytest.mark.once
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_every_step_ends_as_it_should(backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--quick", "--backend", backend]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].startswith(f"statews demo on {backend}, with quick numbers: heartbeat 0.3")
    assert lines[1] == "plain log: standard output is no terminal"
    assert lines[-1] == f"{len(STEPS)} of {len(STEPS)} steps ended as they should"
    check_counts(lines)
    assert len(re.findall(r": process \d+ is killed", out)) == 2 * 3  # in the log and the table
    assert err == ""


def check_counts(lines: list[str]) -> None:
    """Nothing is lost, doubled or out of order, both ways of both clients."""
    head, *rows, promise, space, _ = lines[-8:]
    assert head.split() == ["messages", "sent", "delivered", "lost", "duplicated", "reordered"]
    assert promise.strip() == "exactly once, in order, by the logs of both sides"
    assert space == ""
    ways = ["client → server", "server → client", "client 2 → server", "server → client 2"]
    for row, way in zip(rows, ways, strict=True):
        sent, delivered, *bad = map(int, row.split()[-5:])
        assert row.startswith(f"ok     {way} ")
        assert sent == delivered > 20
        assert bad == [0, 0, 0]


@pytest.mark.once
@pytest.mark.skipif(find_spec("uvloop") is None, reason="uvloop is not installed")
def test_what_is_killed_goes_on_under_uvloop() -> None:
    done = run_demo("--steps", "kill-server,kill-client", "--backend", "uvloop")
    assert (done.returncode, done.stderr) == (0, "")
    check_counts(done.stdout.splitlines())


async def miss_some(stage: Stage) -> None:
    """A client that does not write everything down."""
    async for message in stage.connection:
        number = number_of(message)
        if isinstance(number, int) and number % 4:
            stage.logs.traffic[FIRST].down.take(number)


SHORT_LIVED = replace(QUICK, policy=replace(QUICK.policy, outbox=Outbox(time_to_live=0.1)))
IS_LOST: dict[str, tuple[object, str, object]] = {
    "client → server": (demo, "QUICK", SHORT_LIVED),
    "server → client": (Stage, "hear", miss_some),
}


@pytest.mark.once
@pytest.mark.parametrize("way", IS_LOST)
def test_a_lost_message_fails_the_demo(
    way: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(*IS_LOST[way])
    monkeypatch.setattr(stage, "SETTLING", 0.5)
    assert main(["demo", "--quick", "--steps", "refuse"]) == 1
    lines = capsys.readouterr().out.splitlines()
    row = next(line for line in lines if line.startswith(f"failed {way} "))
    sent, delivered, lost, duplicated, reordered = map(int, row.split()[-5:])
    assert sent == delivered + lost > delivered > 0
    assert duplicated == reordered == 0
    assert any("lost: #" in line for line in lines)
    assert lines[-2:] == [
        "messages did not arrive as they should",
        "3 of 3 steps ended as they should",
    ]


@pytest.mark.once
def test_a_session_that_is_not_resumed_fails_the_demo(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def begin_another(stage: Stage) -> None:
        stage.logs.sessions[FIRST].append("another")

    wrong = replace(BY_NAME["kill-client"], play=begin_another, complain=lambda _: "")
    monkeypatch.setattr(demo, "STEPS", (STEPS[0], wrong))
    assert main(["demo", "--quick"]) == 1
    assert "failed: client lost its session" in capsys.readouterr().out


@pytest.mark.once
def test_a_process_that_does_not_end_by_itself_fails_the_demo(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stage, "ENDING", 0.0)
    assert main(["demo", "--quick", "--steps", "restart"]) == 1
    said = " ".join(capsys.readouterr().out.split())  # however the lines are broken
    assert "server did not end as it should" in said


def test_a_server_that_does_not_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(play, "PROGRAMS", "statews.cli.nowhere")
    with pytest.raises(StatewsError, match=r"it did not start: server: .*No module named"):
        main(["demo", "--quick"])


@pytest.mark.once
def test_steps_can_be_chosen_and_run_on_both_backends() -> None:
    done = run_demo("--steps", "reset,cut", "--backend", "both")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("4 of 4 steps ended as they should") == 2
    assert done.stdout.index("on asyncio") < done.stdout.index("on trio")
    assert done.stdout.index("  cut:") < done.stdout.index("  reset:")
    assert "slow" not in done.stdout


@pytest.mark.once
def test_where_text_cannot_be_written_it_is_replaced() -> None:
    done = run_demo("--steps", "connect", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert "idle ? connecting" in done.stdout


@pytest.mark.once
def test_a_step_that_ends_otherwise_fails_the_demo(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def complain(_: Observed) -> str:
        return "wrong on purpose"

    wrong = replace(BY_NAME["cut"], complain=complain)
    monkeypatch.setattr(demo, "STEPS", (STEPS[0], wrong, STEPS[-1]))
    assert main(["demo", "--quick", "--plain"]) == 1
    out = capsys.readouterr().out
    assert "plain log: as asked" in out
    assert "  failed: wrong on purpose" in out
    assert "failed cut" in out
    assert out.endswith("2 of 3 steps ended as they should\n")


@pytest.mark.once
def test_a_connection_that_does_not_come_back_ends_the_demo(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def close(stage: Stage) -> None:
        await stage.connection.close()

    fatal = replace(BY_NAME["cut"], play=close)
    monkeypatch.setattr(demo, "STEPS", (STEPS[0], fatal, BY_NAME["slow"], STEPS[-1]))
    assert main(["demo", "--quick"]) == 1
    out = capsys.readouterr().out
    assert "the loss was not noticed" in out
    assert "-      slow        not played" in out
    assert out.endswith("1 of 4 steps ended as they should\n")


@pytest.mark.once
def test_a_step_has_its_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def stay_away(stage: Stage) -> None:
        await stage.connection.wait_for(State.OPEN)
        stage.proxies[0].refuse()
        await anyio.sleep_forever()

    endless = replace(STEPS[0], play=stay_away)
    monkeypatch.setattr(demo, "STEPS", (endless, STEPS[-1]))
    monkeypatch.setattr(demo, "QUICK", replace(QUICK, patience=0.7))
    assert main(["demo", "--quick"]) == 1
    assert "it took too long" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--steps", "cut,dance"], "there is no step dance: the steps are connect, cut, reset"),
        (["--backend", "curio"], "invalid choice: 'curio'"),
    ],
)
def test_a_wrong_use_is_told(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", *arguments]) == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("backend", "complaint"),
    [
        ("trio", "statews: trio is not installed: pip install 'statews[trio]'\n"),
        ("both", "statews: trio is not installed: pip install 'statews[trio]'\n"),
        ("uvloop", "statews: uvloop is not installed: pip install 'uvloop'\n"),
    ],
)
def test_a_backend_that_is_missing_is_told(
    backend: str,
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = {"asyncio": object()}
    monkeypatch.setattr("statews.cli.backend.find_spec", found.get)
    assert main(["demo", "--backend", backend]) == 2
    assert capsys.readouterr() == ("", complaint)


def test_no_live_view_where_it_could_not_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(isatty=lambda: True, encoding="utf-8"))
    monkeypatch.setenv("TERM", "xterm")
    assert demo.why_plain() == ""
    installed: dict[str, object] = {}
    monkeypatch.setattr(demo, "find_spec", installed.get)
    assert demo.why_plain() == "rich is not installed: pip install 'statews[cli]'"
    sys.stdout.encoding = "latin-1"  # type: ignore[misc]
    assert demo.why_plain() == "the terminal takes latin-1, and the live view needs UTF-8"
    monkeypatch.setenv("TERM", "dumb")
    assert demo.why_plain() == "the terminal has no cursor to move"
    sys.stdout.isatty = lambda: False  # type: ignore[method-assign]
    assert demo.why_plain() == "standard output is no terminal"


@pytest.mark.once
@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_quietly_and_leaves_nothing(
    backend: str, number: signal.Signals, tmp_path: Path
) -> None:
    with subprocess.Popen(  # noqa: S603
        [*STATEWS, "demo", "--backend", backend, "--plain"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", "TMPDIR": str(tmp_path)},
    ) as process:
        assert process.stdout is not None
        said = b""
        while b"client 2: process" not in said:
            said += process.stdout.readline()
        process.send_signal(number)
        _, err = process.communicate(timeout=DEADLINE)
        assert (process.returncode, err) == (128 + number, b"")
    pids = re.findall(rb": process (\d+) begins", said)
    assert len(pids) == 2
    for pid in map(int, pids):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.once
@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_the_live_view_gives_the_terminal_back() -> None:
    shown = bytearray()
    leader, follower = os.openpty()
    with subprocess.Popen(  # noqa: S603
        [*STATEWS, "demo", "--quick", "--steps", "cut"],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**os.environ, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"},
    ) as process:
        os.close(follower)
        while True:
            try:
                shown += os.read(leader, 65536)
            except OSError:  # Linux's way to say that nobody has it open any more
                break
        assert process.wait(timeout=DEADLINE) == 0
    os.close(leader)
    live, _, after = shown.decode().partition("\x1b[?1049l")
    assert live.startswith("\x1b[?1049h")
    assert "backing-off" in live
    assert "3 of 3 steps ended as they should" in after
