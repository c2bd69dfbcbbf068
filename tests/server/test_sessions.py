"""A session and its handler, across the links of its client: virtual time, no sockets."""

from __future__ import annotations

import anyio
import pytest

import statews
from statews import (
    ConnectionClosed,
    Gap,
    LinkClosed,
    Reset,
    Session,
    SessionLimits,
    SessionState,
    State,
)
from statews.testing import Network

from .world import SOON, Desk, connect, dialled, echo, go_missing, serve

pytestmark = pytest.mark.statews(limit=5000)


async def test_a_handler_lives_as_long_as_its_session_across_links(
    statews_network: Network,
) -> None:
    desk = Desk()
    async with serve(desk.handle) as server:
        async with connect() as connection:
            for number in range(3):
                await (await connection.send(str(number))).wait_acknowledged()
                statews_network.reset()
                await connection.wait_for(State.BACKING_OFF)
                await connection.wait_for(State.OPEN)
            assert [session.id for session in desk.sessions] == [connection.session]
            assert desk.session.links == 4
        await anyio.sleep(SOON)
        assert desk.session.state is SessionState.ENDED
        assert not server.sessions


@pytest.mark.statews_faults(
    "2:cut", "5:reset", "9-12:freeze", "20:reset", "20-24:refuse", "40:cut"
)
async def test_messages_arrive_both_ways_in_order_and_once_over_lost_links() -> None:
    got: list[str] = []
    heard: list[object] = []

    async def handler(session: Session) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(talk, session)
            async for message in session:
                got.append(str(message))  # noqa: PERF401 - it is looked at meanwhile
            group.cancel_scope.cancel()

    async def talk(session: Session) -> None:
        for number in range(600):
            await session.send(f"down {number}")
            await anyio.sleep(0.1)

    async def say(connection: statews.Connection) -> None:
        for number in range(600):
            await connection.send(f"up {number}")
            await anyio.sleep(0.1)
        await connection.flush()

    async with serve(handler), connect() as connection, anyio.create_task_group() as group:
        group.start_soon(say, connection)
        heard += [await connection.receive() for _ in range(600)]
    assert heard == [f"down {number}" for number in range(600)]
    assert got == [f"up {number}" for number in range(600)]


async def test_what_was_sent_to_a_client_that_is_away_comes_when_it_is_back(
    statews_network: Network,
) -> None:
    async with serve() as server, connect() as connection:
        sid = connection.session
        assert sid is not None
        await server.send(sid, "while attached")
        assert await connection.receive() == "while attached"
        async with go_missing(statews_network):
            assert not server.sessions[sid].is_attached
            await server.send(sid, "while away")
            await server.send(sid, b"and this")
        assert await connection.receive() == "while away"
        assert await connection.receive() == b"and this"


async def test_there_is_nothing_to_send_to_without_a_session() -> None:
    async with serve() as server:
        with pytest.raises(statews.UsageError, match="there is no session 'nobody'"):
            await server.send("nobody", "x")


async def test_a_handler_that_returns_ends_the_session() -> None:
    async def handler(session: Session) -> None:
        await anyio.sleep(1)
        await session.send("bye")

    async with serve(handler) as server, connect() as connection:
        assert await connection.receive() == "bye"
        with pytest.raises(ConnectionClosed):
            await connection.receive()
        error = connection.snapshot().last_error
        assert isinstance(error, LinkClosed)
        assert error.code == 1000
        assert connection.state is State.CLOSED
        assert not server.sessions


async def test_a_handler_that_raises_costs_the_link_only() -> None:
    calls: list[str] = []
    again: list[tuple[str, bool]] = []

    async def handler(session: Session) -> None:
        calls.append(session.id)
        async for message in session:
            again.append((str(message), session.redelivered))
            if message == "poison" and len(calls) == 1:
                raise ZeroDivisionError

    async with serve(handler), connect() as connection:
        sid = connection.session
        receipts = [await connection.send(text) for text in ("good", "poison", "better")]
        await connection.wait_for(State.BACKING_OFF)
        error = connection.snapshot().last_error
        assert isinstance(error, LinkClosed)
        assert error.code == 4500
        await connection.flush()
        assert [receipt.state for receipt in receipts] == ["acknowledged"] * 3
        assert connection.session == sid
        assert calls == [sid, sid]
    assert again == [("good", False), ("poison", False), ("poison", True), ("better", False)]


async def test_the_message_a_handler_failed_with_is_not_acknowledged() -> None:
    async def handler(session: Session) -> None:
        await session.receive()
        await session.receive()
        raise ZeroDivisionError

    async with serve(handler), connect() as connection:
        first, second = [await connection.send(text) for text in ("one", "two")]
        await connection.wait_for(State.BACKING_OFF)
        assert first.state == "acknowledged"
        assert second.state == "queued"


async def test_a_hibernated_handler_is_called_anew_with_what_it_was_busy_with(
    statews_network: Network,
) -> None:
    began: list[float] = []
    heard: list[tuple[str, bool]] = []

    async def handler(session: Session) -> None:
        began.append(anyio.current_time())
        async for message in session:
            heard.append((str(message), session.redelivered))
            if len(heard) == 1:
                await anyio.sleep(1000)

    limits = SessionLimits(hibernate_after=5)
    async with serve(handler, limits=limits), connect() as connection:
        receipt = await connection.send("long work")
        await anyio.sleep(1)
        async with go_missing(statews_network):
            await anyio.sleep(20)
        await receipt.wait_acknowledged()
    assert len(began) == 2
    assert heard == [("long work", False), ("long work", True)]


async def test_a_handler_that_takes_time_to_hibernate_is_followed_by_another(
    statews_network: Network,
) -> None:
    desk = Desk()

    async def handler(session: Session) -> None:
        try:
            await desk.handle(session)
        finally:
            with anyio.move_on_after(3, shield=True):
                await anyio.sleep_forever()

    async with serve(handler, limits=SessionLimits(hibernate_after=2)) as server:
        async with connect() as connection:
            async with go_missing(statews_network):
                await anyio.sleep(2.1)
            await connection.wait_for(State.OPEN)
            assert len(server.sessions) == 1
            with anyio.fail_after(10):
                await (await connection.send("are you there")).wait_acknowledged()
        assert len(desk.sessions) == 2


async def test_what_waits_for_a_handler_when_its_session_expires_goes_to_the_next_one(
    statews_network: Network,
) -> None:
    heard: list[tuple[int, str]] = []

    async def handler(session: Session) -> None:
        number = len({number for number, _ in heard}) + 1
        async for message in session:
            heard.append((number, str(message)))
            await anyio.sleep(10 if number == 1 else 0)

    limits = SessionLimits(time_to_live=3)
    async with serve(handler, limits=limits), connect(policy=_keeping()) as connection:
        receipts = [await connection.send(text) for text in ("one", "two", "three")]
        await anyio.sleep(5)
        async with go_missing(statews_network):
            await anyio.sleep(4)
        for receipt in receipts:
            await receipt.wait_acknowledged()
        await anyio.sleep(20)
    # The first handler was in the middle of the first message.
    assert heard == [(1, "one"), (2, "one"), (2, "two"), (2, "three")]


async def test_a_session_expires_after_its_time_to_live(statews_network: Network) -> None:
    desk = Desk()
    async with (
        serve(desk.handle, limits=SessionLimits(time_to_live=60)) as server,
        connect(policy=_keeping()) as connection,
    ):
        events = connection.events()
        first = connection.session
        await (await connection.send("handled")).wait_acknowledged()
        async with go_missing(statews_network):
            await anyio.sleep(59)
            assert first in server.sessions
            await anyio.sleep(2)
            assert first not in server.sessions
        assert desk.session.state is SessionState.EXPIRED
        event = await anext(events)
        while not isinstance(event, Reset):
            event = await anext(events)
        assert event.stream == "session"
        assert connection.session not in (None, first)
        await (await connection.send("in the new one")).wait_acknowledged()
    assert desk.heard == ["handled", "in the new one"]
    assert len(desk.sessions) == 2


def _keeping() -> statews.Policy:
    backoff = statews.Backoff(jitter=statews.Jitter.NONE, max_attempts=None)
    outbox = statews.Outbox(delivery=statews.Delivery.AT_LEAST_ONCE)
    return statews.Policy(backoff=backoff, outbox=outbox)


async def test_after_a_reset_the_client_learns_what_the_old_session_had_handled(
    statews_network: Network,
) -> None:
    desk = Desk()
    async with (
        serve(desk.handle, limits=SessionLimits(time_to_live=10)),
        connect(policy=_keeping()) as connection,
    ):
        await connection.send("handled, and the acknowledgement is lost")
        await anyio.sleep(0.1)  # before the acknowledgement goes out alone
        async with go_missing(statews_network):
            await anyio.sleep(20)
        await connection.flush()
    assert desk.heard == ["handled, and the acknowledgement is lost"]


async def test_the_welcome_after_a_reset_says_where_the_old_session_was() -> None:
    async with serve(echo, limits=SessionLimits(time_to_live=10)):
        async with dialled() as speaker:
            await speaker.greet()
            await speaker.say("M1;one", "M2;two")
            await anyio.sleep(1)
        await anyio.sleep(11)
        async with dialled() as again:
            old = {"sid": speaker.sid, "tok": speaker.token, "n": 2, "tx": [1, 3]}
            welcome = await again.greet(**old)
            assert welcome["r"] == "reset"
            assert welcome["was"] == {"rx": 2}
        async with dialled() as stranger:
            guessed = {"sid": speaker.sid, "tok": "guessed", "n": 3, "tx": [1, 3]}
            welcome = await stranger.greet(**guessed)
            assert welcome["r"] == "reset"
            assert "was" not in welcome


async def test_what_a_client_sent_before_its_clean_close_is_handled() -> None:
    handled: list[str] = []

    async def handler(session: Session) -> None:
        async for message in session:
            await anyio.sleep(0.1)
            handled.append(str(message))
        handled.append(session.state)

    async with serve(handler):
        async with connect() as connection:
            for text in ("one", "two", "bye"):
                await connection.send(text)
        await anyio.sleep(1)
    assert handled == ["one", "two", "bye", "ended"]


async def test_a_handler_that_looks_for_nothing_is_cancelled_when_its_session_is_over() -> None:
    ended: list[float] = []

    async def handler(_: Session) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(anyio.current_time())

    async with serve(handler):
        async with connect():
            pass
        await anyio.sleep(20)
        assert len(ended) == 1


async def test_a_gap_in_what_a_client_sends_is_an_event_of_the_handler() -> None:
    desk = Desk()
    async with serve(desk.handle), dialled() as speaker:
        await speaker.greet(tx=[4, 6])
        await speaker.say("M1;one", "S3,77", "M4;four")
        assert await speaker.hear() == "A4"
    gap = Gap(stream="session", key=None, after=1, before=4, reason="the client has dropped them")
    assert desk.heard == ["one", gap, "four"]


async def test_receive_passes_over_gaps_and_two_tasks_may_not_receive() -> None:
    heard: list[object] = []

    async def handler(session: Session) -> None:
        heard.append(await session.receive())
        heard.append(await session.receive())
        async with anyio.create_task_group() as group:
            group.start_soon(session.receive)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(statews.BusyError, match="another task is receiving"):
                await session.receive()
            group.cancel_scope.cancel()
        heard.append("done")

    async with serve(handler), dialled() as speaker:
        await speaker.greet()
        await speaker.say("M1;one", "S3,77", "M4;four")
        await speaker.ending()
    assert heard == ["one", "four", "done"]


async def test_a_session_says_who_it_is() -> None:
    desk = Desk()
    async with serve(desk.handle) as server, connect() as connection:
        await (await connection.send("x")).wait_acknowledged()
        assert repr(desk.session) == f"<statews.Session {connection.session} attached>"
        assert repr(server) == "<statews.Server with 1 sessions, 1 links>"
        assert desk.session.principal is None
        assert desk.session.position == 1
        assert server.port == 80


async def test_what_another_session_s_end_does_to_a_handler_is_a_failure_of_it() -> None:
    async with serve() as server:
        async with connect():
            (other,) = server.sessions.values()

        async def handler(_: Session) -> None:
            await other.send("x")

        server._handlers._handler = handler
        await anyio.sleep(SOON)
        async with connect(wait=False) as connection:
            await connection.wait_for(State.BACKING_OFF)
            error = connection.snapshot().last_error
            assert isinstance(error, LinkClosed)
            assert error.code == 4500
