"""Waiting and watching: in virtual time, on a network without sockets."""

from __future__ import annotations

import logging

import anyio
import pytest
from anyio import current_time

import statews
from statews import (
    Backoff,
    Jitter,
    Phase,
    Policy,
    State,
)

from .world import (
    World,
    connect,
    echo,
    refuse,
    respond,
    steady,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("world")]


async def test_two_tasks_may_not_receive_at_once() -> None:
    async with connect() as connection:
        for _ in range(2):  # the first finds the driver reading, the second reads itself
            async with anyio.create_task_group() as group:
                group.start_soon(connection.receive)
                await anyio.sleep(0.1)
                with pytest.raises(statews.BusyError, match="another task is receiving"):
                    await connection.receive()
                await connection.send("x")
        await connection.send("y")
        assert await connection.receive() == "y"


async def test_wait_for_does_not_miss_a_state_that_passes_quickly(world: World) -> None:
    async with connect() as connection, anyio.create_task_group() as group:
        seen = []

        async def watch(state: State) -> None:
            seen.append(await connection.wait_for(state))

        for state in (State.BACKING_OFF, State.CONNECTING):
            group.start_soon(watch, state)
        await anyio.lowlevel.checkpoint()
        world.wires[-1].cut()
        await anyio.sleep(5)
        assert set(seen) == {State.BACKING_OFF, State.CONNECTING}
    with pytest.raises(statews.ConnectionClosed, match="before it was open"):
        await connection.wait_for(State.OPEN)


async def test_an_observer_that_does_not_look_holds_up_nobody(world: World) -> None:
    world.scripts = [refuse]
    policy = steady(backoff=Backoff(first=1, maximum=1, jitter=Jitter.NONE, max_attempts=None))
    async with connect(policy=policy, wait=False) as connection:
        changes = connection.changes()
        await anyio.sleep(300)
    seen = [change async for change in changes]
    assert len(seen) == 256
    assert changes.missed > 300
    assert seen[-1].now.state is State.CLOSED


async def test_the_snapshot_tells_where_the_connection_is(world: World) -> None:
    world.scripts = [refuse, echo]
    connection = connect("ws://user:secret@example.org/feed?token=secret", wait=False)
    assert connection.snapshot().state is State.IDLE
    async with connection:
        await connection.wait_for(State.BACKING_OFF)
        now = connection.snapshot()
        assert now.attempt == 1
        assert now.retry_at == pytest.approx(current_time() + 1, abs=0.01)
        assert isinstance(now.last_error, statews.DialError)
        assert now.endpoint == "ws://example.org/feed"
        await connection.wait_for(State.OPEN)
        assert connection.phase is Phase.LIVE
        connection.nudge()
        await anyio.sleep(1)
        assert connection.snapshot().round_trip is not None


async def test_an_unused_connection_is_idle_and_knows_nothing() -> None:
    assert connect().snapshot() == statews.Snapshot(
        state=State.IDLE,
        phase=None,
        attempt=0,
        since=0.0,
        retry_at=None,
        last_error=None,
        round_trip=None,
        endpoint=None,
    )


async def test_a_change_tells_what_was_left_and_by_what(world: World) -> None:
    world.scripts = [refuse, echo]
    connection = connect(wait=False)
    changes = connection.changes()
    async with connection:
        await connection.wait_for(State.OPEN)
    assert [
        (change.left.value, change.event, change.now.state.value, change.now.phase)
        async for change in changes
    ] == [
        ("idle", "connect", "connecting", None),
        ("connecting", "lost", "backing-off", None),
        ("backing-off", "elapsed", "connecting", None),
        ("connecting", "opened", "open", Phase.LIVE),
        ("open", "close", "closed", None),
    ]


async def test_every_change_of_state_is_logged_a_loss_as_a_warning_the_end_of_trying_as_an_error(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="statews")
    world.scripts = [refuse, echo, respond(b"HTTP/1.1 403 Forbidden\r\n\r\n")]
    async with connect() as connection:
        await anyio.sleep(5)
        world.wires[-1].cut()
        await connection.wait_for(State.BACKING_OFF)
        lost = connection.snapshot().last_error
        await connection.wait_for(State.FAILED)
        refused = connection.snapshot().last_error
    url = "ws://example.org/feed"
    failed = "could not connect to example.org port 80: connection refused"
    assert caplog.record_tuples == [
        ("statews.client", level, message)
        for level, message in [
            (logging.INFO, "idle -> connecting (connect) "),
            (logging.WARNING, f"connecting -> backing-off for 1.00 s: {failed}"),
            (logging.INFO, f"backing-off -> connecting (elapsed) {url}"),
            (logging.INFO, f"connecting -> open (opened) {url}"),
            (logging.WARNING, f"open -> backing-off for 2.00 s: {lost}"),
            (logging.INFO, f"backing-off -> connecting (elapsed) {url}"),
            (logging.ERROR, f"connecting -> failed: {refused}"),
            (logging.INFO, f"failed -> closed (close) {url}"),
        ]
    ]


async def test_no_secret_stands_in_a_log_or_a_repr(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    world.scripts = [refuse, respond(b"HTTP/1.1 500 No\r\n\r\n"), echo]
    url = "ws://user:s3cret@example.org/feed?token=s3cret"
    async with connect(url, headers={"Authorization": "Bearer s3cret"}) as connection:
        assert "s3cret" not in repr(connection)
        assert "s3cret" not in repr(connection.snapshot())
    assert "backing-off" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://example.org", "expected a URL like wss://"),
        ("example.org", "expected a URL like wss://"),
        ("ws://", "expected a URL like wss://"),
        ("ws+unix:relative", "expected a URL like ws\\+unix:///"),
        ([], "at least one URL"),
        (3, "expected a URL"),
    ],
)
async def test_a_wrong_url_fails_at_once_and_says_what_would_be_right(
    url: object, said: str
) -> None:
    with pytest.raises(statews.UsageError, match=said):
        connect(url)


async def test_whoever_waits_for_a_link_learns_that_the_policy_gave_up(world: World) -> None:
    world.scripts = [refuse]
    async with connect(policy=Policy(backoff=Backoff(max_attempts=2)), wait=False) as connection:
        for _ in range(2):  # while it tries, and after
            with pytest.raises(statews.ConnectionFailed, match="gave up after 3 attempts"):
                await connection.wait_for(State.OPEN)
        assert await connection.wait_for(State.FAILED) is State.FAILED
        with anyio.move_on_after(100) as scope:
            await connection.wait_for(State.CLOSED)
        assert scope.cancelled_caught


async def test_tasks_that_share_an_iterator_share_the_changes() -> None:
    connection = connect()
    changes = connection.changes()
    seen: list[State] = []

    async def watch() -> None:
        async for change in changes:
            seen.append(change.now.state)  # noqa: PERF401 - seen while it goes on

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(watch)
            await anyio.wait_all_tasks_blocked()
            async with connection:
                await anyio.sleep(1)
    assert seen == [State.CONNECTING, State.OPEN, State.CLOSED]
