"""Simulated days: what must hold does, the same seed does the same, and a breach is told."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from statews import Backoff, Policy, State
from statews.cli import main
from statews.client.changes import Change, Snapshot
from statews.client.connect import connect
from statews.testing.faults import Ending
from statews.testing.network import Dial, Network
from statews.testing.simulation import (
    POLICY,
    Client,
    Simulated,
    Simulation,
    SimulationError,
    comes_back,
    delivers_in_order,
    does_not_hammer,
    leaves_nothing,
    moves_by_declared_rows,
)
from statews.testing.virtual import BACKENDS, Backend, run

SEEDS = 250  # for each backend
backends = pytest.mark.parametrize("backend", BACKENDS)


@pytest.mark.once
@pytest.mark.no_cover
@backends
def test_what_must_hold_does_through_random_faults(backend: Backend) -> None:
    outcomes = [Simulation(seed).run(backend) for seed in range(SEEDS)]
    assert sum(outcome.dials for outcome in outcomes) > 3 * SEEDS
    assert sum(outcome.delivered for outcome in outcomes) > 20 * SEEDS
    assert sum(outcome.longest_outage > 0 for outcome in outcomes) > SEEDS / 2


@pytest.mark.once
@backends
def test_the_same_seed_gives_the_same_trace_in_every_process(backend: Backend) -> None:
    code = f"""
from statews.testing.simulation import Simulation
for seed in range(5):
    print(Simulation(seed).run({backend!r}).digest)
"""
    digests = {
        subprocess.run(  # noqa: S603 - this very Python
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": str(number)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for number in range(3)
    }
    (only,) = digests
    assert only.split() == [Simulation(seed).run(backend).digest for seed in range(5)]
    assert len(set(only.split())) == 5


@backends
def test_what_does_not_hold_is_told_with_its_seed_and_its_trace(backend: Backend) -> None:
    policy = replace(POLICY, backoff=Backoff(max_attempts=0))
    with pytest.raises(SimulationError, match=f"seed 0 on {backend}: .* are not open") as caught:
        Simulation(0, policy=policy).run(backend)
    assert caught.value.seed == 0
    assert "-> failed" in caught.value.trace


def test_invariants_of_ones_own_are_looked_at_twice() -> None:
    looks: list[bool] = []

    def look(simulated: Simulated) -> str | None:
        looks.append(simulated.is_over)
        return "enough" if simulated.is_over else None

    with pytest.raises(SimulationError, match="seed 3 on asyncio: enough"):
        Simulation(3, invariants=[look]).run()
    assert looks == [False, True]


def client() -> Client:
    return Client(number=0, connection=connect("ws://example.org/", policy=Policy()))


def change(left: State, now: State) -> Change:
    snapshot = Snapshot(
        state=now,
        phase=None,
        attempt=0,
        since=0.0,
        retry_at=None,
        last_error=None,
        round_trip=None,
        endpoint=None,
    )
    return Change(left=left, event="opened", now=snapshot)


class Left:
    """A link that somebody forgot."""

    def end(self, how: Ending) -> None:
        raise AssertionError(how)


def test_each_invariant_complains_of_what_it_is_for() -> None:
    run(complain)


async def complain() -> None:
    world = Simulated(network=Network())
    invariants = (comes_back, moves_by_declared_rows, does_not_hammer, delivers_in_order)
    assert [invariant(world) for invariant in (*invariants, leaves_nothing)] == [None] * 5
    world.clients.append(client())
    assert comes_back(world) == "clients [0] are not open"
    world.clients[0].changes.append(change(State.CONNECTING, State.OPEN))
    assert moves_by_declared_rows(world) is None
    world.clients[0].changes.append(change(State.OPEN, State.CLOSED))
    assert moves_by_declared_rows(world) == "client 0 moved open -> closed"
    world.network.dials += [Dial(at=number, host="x", port=80) for number in range(41)]
    assert does_not_hammer(world) == "more than 40 dials within a minute of 0.0 s"
    way = world.history.way("client 0 -> server")
    way.sent("one")
    way.delivered("one")
    way.delivered("one")
    assert "one" in (delivers_in_order(world) or "")
    world.network.adopt(Left())
    assert leaves_nothing(world) is None
    world.is_over = True
    assert comes_back(world) is None
    assert leaves_nothing(world) == "1 links are left"


@backends
def test_the_command_says_what_was_simulated(
    backend: Backend, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("statews.cli.simulate.EVERY", 0.0)
    assert main(["simulate", "--hours", "0.05", "--backend", backend, "--clients", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("0.0 h in 1 stretches: ")
    assert "all invariants hold" in lines[-1]


def test_the_command_shows_what_did_not_hold(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(_: Simulation, backend: Backend) -> None:
        raise SimulationError(7, backend, ["a link is left"], "1\n2\n3")

    monkeypatch.setattr(Simulation, "run", run)
    assert main(["simulate"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        *("1", "2", "3", ""),
        "seed 7 on asyncio: a link is left",
        "again: statews simulate --backend asyncio --seed 7",
    ]


@pytest.mark.parametrize(
    ("option", "match"),
    [
        (["--hours", "0"], "expected a number above 0, got '0'"),
        (["--hours", "some"], "expected a number above 0, got 'some'"),
        (["--clients", "1.5"], "expected a whole number above 0, got '1.5'"),
        (["--backend", "uvloop"], "invalid choice: 'uvloop'"),
    ],
)
def test_the_command_says_what_is_wrong(
    option: list[str], match: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", *option]) == 2
    assert match in capsys.readouterr().err
