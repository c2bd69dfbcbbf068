"""Backoff, attempts, giving up: in virtual time, on a network without sockets."""

from __future__ import annotations

import gc
import re
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from itertools import pairwise

import anyio
import pytest

import statews
from statews import (
    Backoff,
    Jitter,
    Link,
    Phase,
    Policy,
    State,
)
from statews.protocol.verdict import Decide

from .world import (
    URL,
    World,
    accept,
    connect,
    echo,
    refuse,
    respond,
    silent,
    steady,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("world")]


async def test_accept_then_drop_is_not_hammered(world: World) -> None:
    async def drop(_: Link) -> None:
        return

    world.scripts = [accept(drop)]

    def always(_: statews.Failure) -> statews.Verdict:
        return statews.Retry()

    with anyio.move_on_after(60):
        async with statews.connect(URL, proxy=None, wait=False, decide=always):
            await anyio.sleep_forever()
    assert 2 <= len(world.dials) <= 12
    world.dials.clear()
    with anyio.move_on_after(60):
        async with connect(wait=False, decide=always):
            await anyio.sleep_forever()
    starts = [at for at, _, _ in world.dials]
    gaps = [round(b - a) for a, b in pairwise(starts)]
    assert gaps == [1, 2, 4, 8, 16]


async def test_attempts_are_forgotten_only_after_a_link_has_lasted(world: World) -> None:
    lifetimes = iter([1.0, 1.0, 30.0, 1.0])

    async def live(_: Link) -> None:
        await anyio.sleep(next(lifetimes))

    world.scripts = [accept(live)] * 4 + [silent]
    waits = []
    async with connect(wait=False, decide=lambda _: statews.Retry()) as connection:
        async for change in connection.changes():
            if change.now.retry_at is not None:
                waits.append(round(change.now.retry_at - change.now.since))
            if len(waits) == 4:
                break
    assert waits == [1, 2, 1, 2]


async def test_max_attempts_counts_reconnects_in_a_row(world: World) -> None:
    world.scripts = [refuse]
    with pytest.raises(statews.ConnectionFailed, match="gave up after 4 attempts") as caught:
        await connect(policy=Policy(backoff=Backoff(max_attempts=3))).__aenter__()
    assert len(world.dials) == 4
    assert [type(error) for error in caught.value.history] == [statews.DialError] * 4


async def test_every_attempt_is_counted_and_the_latest_errors_are_kept(world: World) -> None:
    world.scripts = [refuse]
    with pytest.raises(statews.ConnectionFailed, match="gave up after 121 attempts") as caught:
        await connect(policy=Policy(backoff=Backoff(max_attempts=120))).__aenter__()
    assert len(caught.value.history) == 100


async def test_a_decision_that_fails_is_no_attempt_of_its_own(world: World) -> None:
    def decide(_: statews.Failure) -> statews.Verdict:
        raise ZeroDivisionError

    world.scripts = [refuse]
    with pytest.raises(statews.ConnectionFailed, match="gave up after 1 attempt that") as caught:
        await connect(decide=decide).__aenter__()
    assert len(caught.value.history) == 2


async def test_failed_can_be_left_by_connect(world: World) -> None:
    world.scripts = [refuse, refuse, echo]
    policy = Policy(backoff=Backoff(max_attempts=1))
    async with connect(policy=policy, wait=False) as connection:
        await connection.wait_for(State.FAILED)
        with pytest.raises(statews.ConnectionFailed, match="gave up after 2 attempts that"):
            await connection.receive()
        with pytest.raises(statews.ConnectionFailed, match="gave up"):
            await connection.send("x")
        await connection.connect()
        assert connection.state is State.OPEN
        await connection.send("x")
        assert await connection.receive() == "x"
        assert connection.snapshot().attempt == 0


async def test_connect_waits_in_every_living_state_and_raises_when_closed(world: World) -> None:
    connection = connect()
    with pytest.raises(
        statews.UsageError, match=r"^enter the connection first: async with connect\(\.\.\.\)$"
    ):
        await connection.connect()
    async with connection:
        await connection.connect()
        world.wires[-1].cut()
        await connection.wait_for(State.BACKING_OFF)
        await connection.connect()
        assert connection.state is State.OPEN
    with pytest.raises(statews.ConnectionClosed, match="is closed"):
        await connection.connect()


async def test_a_refusal_that_will_not_change_fails_at_once(world: World) -> None:
    world.scripts = [respond(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")]
    with pytest.raises(statews.ConnectionFailed, match=r"1 attempt that .*: .* 403 Forbidden"):
        await connect().__aenter__()
    assert len(world.dials) == 1


async def test_retry_after_is_a_lower_bound(world: World) -> None:
    busy = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 20\r\n\r\n"
    world.scripts = [respond(busy), echo]
    async with connect():
        first, second = (at for at, _, _ in world.dials)
    assert second - first == pytest.approx(21)


async def test_retry_after_may_be_a_date_of_our_own_clock(world: World) -> None:
    until = datetime.now(timezone.utc) + timedelta(minutes=30)
    date = format_datetime(until, usegmt=True)
    busy = f"HTTP/1.1 503 Service Unavailable\r\nRetry-After: {date}\r\n\r\n"
    world.scripts = [respond(busy.encode()), echo]
    async with connect():
        first, second = (at for at, _, _ in world.dials)
    assert second - first == pytest.approx(30 * 60, abs=60)


async def test_a_server_that_restarts_may_spread_its_clients(world: World) -> None:
    async def restart(link: Link) -> None:
        await link.close(1012, "retry=5000-9000")

    world.scripts = [accept(restart), echo]
    async with connect(random=lambda: 0.5) as connection:
        await connection.wait_for(State.BACKING_OFF)
        await connection.wait_for(State.OPEN)
        first, second = (at for at, _, _ in world.dials)
    assert second - first == pytest.approx(5 + 0.5 * 4, abs=0.1)


async def test_a_decision_may_be_to_retry_at_once(world: World) -> None:
    world.scripts = [refuse, refuse, echo]
    async with connect(decide=lambda _: statews.RetryNow()):
        assert [at for at, _, _ in world.dials] == [0, 0, 0]


async def test_an_end_decided_before_there_was_a_link_is_a_failure(world: World) -> None:
    world.scripts = [refuse]
    with pytest.raises(statews.ConnectionFailed, match="connection refused"):
        await connect(decide=lambda _: statews.End()).__aenter__()
    assert len(world.dials) == 1


async def test_of_many_errors_the_last_100_are_kept(world: World) -> None:
    world.scripts = [refuse]
    backoff = Backoff(first=1, maximum=1, max_attempts=120)
    with pytest.raises(statews.ConnectionFailed, match="gave up") as caught:
        await connect(policy=Policy(backoff=backoff)).__aenter__()
    assert len(world.dials) == 121
    assert len(caught.value.history) == 100


async def test_the_peer_may_end_the_connection_by_intent(world: World) -> None:
    async def goodbye(link: Link) -> None:
        await link.send("goodbye")

    world.scripts = [accept(goodbye)]
    async with connect() as connection:
        assert [message async for message in connection] == ["goodbye"]
        assert connection.state is State.CLOSED
        with pytest.raises(statews.ConnectionClosed, match=r"^the connection is closed$"):
            await connection.send("x")
        with pytest.raises(statews.ConnectionClosed, match=r"^the connection is closed$"):
            await connection.receive()
    assert len(world.dials) == 1


async def test_a_decision_is_told_what_was_lost_and_how_long_it_was_there(world: World) -> None:
    told = []

    def decide(failure: statews.Failure) -> statews.Verdict:
        told.append((failure.phase, failure.attempt, failure.uptime))
        return statews.Retry()

    world.scripts = [refuse, echo]
    world.dial_time = 1
    async with connect(decide=decide) as connection:
        await anyio.sleep(4)
        world.wires[-1].cut()
        await connection.wait_for(State.BACKING_OFF)
    assert told == [(Phase.DIALING, 0, None), (Phase.LIVE, 1, pytest.approx(4))]


async def test_endpoints_are_tried_in_turn(world: World) -> None:
    world.scripts = [refuse, refuse, refuse, echo]
    async with connect(["ws://a/", "ws://b/", "ws://c/"]):
        assert [host for _, host, _ in world.dials] == ["a", "b", "c", "a"]


async def test_a_decision_that_raises_fails_the_connection_with_its_error(world: World) -> None:
    world.scripts = [refuse]

    def decide(_: statews.Failure) -> statews.Verdict:
        raise ZeroDivisionError("mine")

    with pytest.raises(
        statews.ConnectionFailed, match="decide failed with ZeroDivisionError"
    ) as caught:
        await connect(decide=decide).__aenter__()
    assert isinstance(caught.value.history[-1].__cause__, ZeroDivisionError)


async def later(_: statews.Failure) -> statews.Verdict:
    return statews.Retry()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("decide", "why"),
    [
        (lambda _: None, "decide must give a verdict such as Retry(), got None"),
        (lambda _: statews.Retry, "decide must give a verdict such as Retry(), got <class"),
        (later, "decide must give a verdict such as Retry(), got <coroutine object later"),
        (lambda _: statews.Retry(at_least="5"), "decide failed with UsageError: Retry.at_least"),  # type: ignore[arg-type]
    ],
)
async def test_a_decision_that_is_none_fails_the_connection(
    world: World, decide: Decide, why: str
) -> None:
    world.scripts = [refuse]
    with pytest.raises(statews.ConnectionFailed, match=re.escape(why)) as caught:
        await connect(decide=decide).__aenter__()
    gc.collect()
    assert [type(error) for error in caught.value.history] == [
        statews.DialError,
        statews.HookError,
    ]


async def test_a_decision_on_a_lost_link_that_is_none_fails_the_connection(world: World) -> None:
    async with connect(decide=lambda _: None) as connection:
        world.wires[-1].cut()
        await connection.wait_for(State.FAILED)
        assert isinstance(connection.snapshot().last_error, statews.HookError)


@pytest.mark.parametrize("draw", ["0.5", None, -0.1, 1.1, float("nan"), 1j])
async def test_what_random_gives_is_looked_at(world: World, draw: object) -> None:
    world.scripts = [refuse]
    why = f"random must give a number from [0, 1), got {draw!r}"
    with pytest.raises(statews.ConnectionFailed, match=re.escape(why)) as caught:
        await connect(random=lambda: draw).__aenter__()
    assert isinstance(caught.value.history[-1], statews.HookError)


@pytest.mark.parametrize("draw", [0, 0.5, 1])
async def test_random_draws_from_nothing_to_all_of_a_delay(world: World, draw: float) -> None:
    world.scripts = [refuse, echo]
    backoff = Backoff(first=8, jitter=Jitter.FULL)
    began = anyio.current_time()
    async with connect(random=lambda: draw, policy=steady(backoff=backoff)):
        assert anyio.current_time() - began == pytest.approx(8 * draw, abs=0.1)


async def test_a_random_that_raises_fails_the_connection_with_its_error(world: World) -> None:
    def random() -> float:
        raise ZeroDivisionError("mine")

    world.scripts = [refuse]
    with pytest.raises(statews.ConnectionFailed, match="random failed with Zero") as caught:
        await connect(random=random).__aenter__()
    assert isinstance(caught.value.history[-1].__cause__, ZeroDivisionError)
