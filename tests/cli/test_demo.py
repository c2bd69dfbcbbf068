"""`statews demo`, as it is typed: what it plays, and what it makes of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import anyio
import pytest

from statews import Outbox, State
from statews.cli import main
from statews.cli.demo import command as demo
from statews.cli.demo import play, stage
from statews.cli.demo.observed import Observed
from statews.cli.demo.pace import QUICK
from statews.cli.demo.stage import Stage
from statews.cli.demo.steps import STEPS

BY_NAME = {step.name: step for step in STEPS}
STATEWS = [sys.executable, "-m", "statews"]
DEADLINE = 60.0  # seconds for a whole demo, however busy the machine is


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


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_every_step_ends_as_it_should(backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--quick", "--backend", backend]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].startswith(f"statews demo on {backend}, with quick numbers: heartbeat 0.3")
    assert lines[1] == "plain log: standard output is no terminal"
    assert lines[-1] == f"{len(STEPS)} of {len(STEPS)} steps ended as they should"
    assert lines[-7].split() == [
        "messages",
        "sent",
        "delivered",
        "lost",
        "duplicated",
        "reordered",
    ]
    for line, way in ((lines[-6], "client → server"), (lines[-4], "server → client")):
        sent, delivered, lost, duplicated, reordered = map(int, line.split()[-5:])
        assert line.startswith(f"ok     {way}")
        assert sent == delivered > 50
        assert lost == reordered == 0
        assert duplicated == 0 or way == "client → server"
    assert err == ""


SHORT_LIVED = Outbox(time_to_live=0.1)
IS_LOST: dict[str, tuple[ModuleType, str, object]] = {
    "client → server": (
        demo,
        "QUICK",
        replace(QUICK, policy=replace(QUICK.policy, outbox=SHORT_LIVED)),
    ),
    "server → client": (play, "follow", tuple),
}


@pytest.mark.parametrize("way", IS_LOST)
def test_a_lost_message_fails_the_demo(
    way: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(*IS_LOST[way])
    monkeypatch.setattr(stage, "SETTLING", 0.5)
    assert main(["demo", "--quick", "--steps", "freeze"]) == 1
    lines = capsys.readouterr().out.splitlines()
    row = next(line for line in lines if line.startswith(f"failed {way}"))
    sent, delivered, lost, duplicated, reordered = map(int, row.split()[-5:])
    assert sent == delivered + lost > delivered > 0
    assert duplicated == reordered == 0
    assert any("lost: #" in line for line in lines)
    assert lines[-2:] == [
        "messages did not arrive as they should",
        "3 of 3 steps ended as they should",
    ]


def test_steps_can_be_chosen_and_run_on_both_backends() -> None:
    done = run_demo("--steps", "reset,cut", "--backend", "both")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("4 of 4 steps ended as they should") == 2
    assert done.stdout.index("on asyncio") < done.stdout.index("on trio")
    assert done.stdout.index("  cut:") < done.stdout.index("  reset:")
    assert "slow" not in done.stdout


def test_where_text_cannot_be_written_it_is_replaced() -> None:
    done = run_demo("--steps", "connect", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert "idle ? connecting" in done.stdout


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
    assert "-      slow     not played" in out
    assert out.endswith("1 of 4 steps ended as they should\n")


def test_a_step_has_its_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def stay_away(stage: Stage) -> None:
        await stage.connection.wait_for(State.OPEN)
        stage.proxy.refuse()
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


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_quietly(backend: str, number: signal.Signals) -> None:
    with subprocess.Popen(  # noqa: S603
        [*STATEWS, "demo", "--backend", backend, "--plain"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    ) as process:
        assert process.stdout is not None
        while b"connecting \xe2\x86\x92 open" not in process.stdout.readline():
            pass
        process.send_signal(number)
        _, err = process.communicate(timeout=DEADLINE)
        assert (process.returncode, err) == (128 + number, b"")


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
