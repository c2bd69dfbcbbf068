"""What the demo shows: the machine drawn in text, and the picture around it."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import anyio
import pytest
from rich.cells import cell_len

from statews import Change, Connection, LinkDropped, Snapshot, State
from statews.cli.demo.chart import asides, sketch, ways
from statews.cli.demo.logs import Logs
from statews.cli.demo.names import FIRST
from statews.cli.demo.observed import Observed
from statews.cli.demo.pace import USUAL
from statews.cli.demo.play import Outcome, Play
from statews.cli.demo.processes import Process
from statews.cli.demo.screen import picture
from statews.cli.demo.stage import Stage
from statews.cli.demo.steps import STEPS
from statews.diagram import lifecycle
from statews.lifecycle import Phase
from statews.testing import FaultProxy


def test_the_machine_is_drawn_whole() -> None:
    chart = lifecycle()
    for width in (76, 100, 140):
        drawn = sketch(chart, width)
        text = "\n".join("".join(cell.char for cell in line) for line in drawn)
        assert {len(line) for line in drawn} == {width}
        for node in chart.nodes:
            assert f" {node.name} " in text
        for way, events in ways(chart).items():
            own = "".join(cell.char for line in drawn for cell in line if way in cell.owners)
            assert " · ".join(events) in own
            assert ("▼" in own) != ("▲" in own)


def test_where_the_machine_has_no_room_it_is_not_drawn() -> None:
    assert sketch(lifecycle(), 75) == sketch(lifecycle(), 20) == []


def test_what_is_no_way_between_two_states_stands_aside() -> None:
    assert asides(lifecycle()) == ["close: any state → closed", "settled: stays open"]


def play_at(
    state: State,
    *,
    phase: Phase | None = None,
    attempt: int = 0,
    retry_in: float | None = None,
    last_error: Exception | None = None,
) -> Play:
    """A play that was stopped in a state."""
    now = anyio.current_time()
    snapshot = Snapshot(
        state=state,
        phase=phase,
        attempt=attempt,
        since=now,
        retry_at=None if retry_in is None else now + retry_in,
        last_error=last_error,
        round_trip=None,
        endpoint=None,
    )
    stage = Stage(
        pace=USUAL,
        folder=Path(),
        server=cast("Process", None),
        second=cast("Process", None),
        proxies=cast("tuple[FaultProxy, FaultProxy]", ()),
        connection=cast("Connection", SimpleNamespace(state=state, snapshot=lambda: snapshot)),
        logs=Logs(),
    )
    stage.history.append(Change(left=State.OPEN, event="lost", now=snapshot))
    for number in range(40):
        stage.note("lost", f"something happened, for the {number}. time, and it is a long story")
    for way in stage.logs.ways:
        for _ in range(300):
            way.send()
    for number in (*range(1, 298), 296, 297):
        stage.logs.traffic[FIRST].up.take(number)
    observed = Observed(
        pace=USUAL,
        began=0.0,
        ended=0.0,
        changes=(),
        accepted=0,
        arrived=0,
        slowest=0.0,
        facts=(),
        ended_sessions=frozenset(),
    )
    outcomes = [
        Outcome(step=STEPS[0], observed=observed, complaint=""),
        Outcome(step=STEPS[1], observed=observed, complaint="no"),
    ]
    return Play(steps=STEPS, stage=stage, step=STEPS[2], outcomes=outcomes)


@pytest.mark.once
@pytest.mark.anyio
@pytest.mark.parametrize("state", list(State))
async def test_the_picture_fills_the_terminal_exactly(state: State) -> None:
    play = play_at(state, retry_in=1.0)
    for width, height in product((10, 40, 80, 200), (1, 8, 24, 60)):
        lines = picture(play, "title", width, height)
        assert len(lines) == height
        assert all(cell_len(line.plain) <= width for line in lines)


@pytest.mark.anyio
async def test_the_picture_says_what_is_going_on() -> None:
    play = play_at(State.BACKING_OFF, retry_in=60.0, attempt=3, last_error=LinkDropped("cut"))
    text = "\n".join(line.plain for line in picture(play, "title", 80, 24))
    for expected in (
        "reset: the proxy resets the link, with RST",
        " backing-off   ▰▰▰▰▰▰▰▰▰▰▰▰  attempt 3 in ",
        " s: cut",
        "client ━━━━━━ proxy ━━━━━━ server   fine",
        "client → server        300     297       2       3   •••",
        "•••••○○○",
        "server → client        300       0       0     300   ○○○",
        "client 2 → server ",
        "server → client 2 ",
        "✓ connect ✗ cut ▶ reset · refuse",
    ):
        assert expected in text


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("attempt", "text"), [(0, " connecting   dialing"), (2, " connecting   attempt 2: dialing")]
)
async def test_the_picture_says_which_attempt_is_made(attempt: int, text: str) -> None:
    play = play_at(State.CONNECTING, phase=Phase.DIALING, attempt=attempt)
    assert any(text in line.plain for line in picture(play, "title", 80, 24))
