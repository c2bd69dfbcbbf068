"""A session whose handler hibernates and of which nothing is under way: little is kept of it."""

from __future__ import annotations

import secrets

import anyio
import pytest

from statews import MemoryStore, Session, SessionLimits, SessionState, State
from statews.protocol.session import Credentials
from statews.protocol.session.identity import digest
from statews.server.journal import Journal
from statews.testing import Network

from ..memory import traced
from .world import SOON, Desk, connect, dialled, go_missing, only, serve

pytestmark = pytest.mark.statews(limit=5000)

DROWSY = SessionLimits(hibernate_after=1)


async def test_a_session_that_slept_goes_on_both_ways_where_it_was(
    statews_network: Network,
) -> None:
    desk = Desk()
    async with serve(desk.handle, limits=DROWSY) as server, connect() as connection:
        await (await connection.send("one")).wait_acknowledged()
        session = only(server)
        session.context = "kept"
        for number in range(2, 5):
            await session.send(f"down {number - 1}")
            assert await connection.receive() == f"down {number - 1}"
            with anyio.move_on_after(SOON):
                await connection.receive()  # to ask for the next is to have handled that
            await session.flush()
            async with go_missing(statews_network):
                await anyio.sleep(2)
                assert session.is_asleep
                assert (session.position, session.sent) == (number - 1, number - 1)
                assert (session.context, session.is_attached) == ("kept", False)
                assert session.is_asleep  # to look at it has not woken it
            await (await connection.send(f"up {number}")).wait_acknowledged()
            assert not session.is_asleep
            assert (session.position, session.sent) == (number, number - 1)
    assert desk.heard == ["one", "up 2", "up 3", "up 4"]
    assert not desk.again
    assert set(desk.sessions) == {session}
    assert len(desk.sessions) == 4
    assert connection.session == session.id


async def test_what_is_sent_to_one_that_sleeps_wakes_it_and_waits(
    statews_network: Network,
) -> None:
    async with serve(limits=DROWSY) as server, connect() as connection:
        await anyio.sleep(SOON)
        session = only(server)
        async with go_missing(statews_network):
            await anyio.sleep(2)
            assert session.is_asleep
            await session.send("one")
            assert server.broadcast("two") == 1
            await server.send(session.id, "three")
            assert not session.is_asleep
            await anyio.sleep(2)
        assert [await connection.receive() for _ in range(3)] == ["one", "two", "three"]


async def keep_unhandled(session: Session) -> None:
    """A handler that never is done with a message."""
    await session.receive()
    await anyio.sleep_forever()


async def keep_unread(_: Session) -> None:
    """A handler that does not receive."""
    await anyio.sleep_forever()


@pytest.mark.parametrize("handler", [keep_unhandled, keep_unread])
async def test_a_message_that_was_not_handled_keeps_its_session_awake(
    handler: object, statews_network: Network
) -> None:
    async with serve(handler, limits=DROWSY) as server, connect() as connection:
        await connection.send("to be handled")
        await anyio.sleep(SOON)
        session = only(server)
        async with go_missing(statews_network):
            await anyio.sleep(2)
            assert not session.is_asleep
            assert len(session.inbox) == 1


async def test_a_message_that_the_client_has_not_handled_keeps_its_session_awake(
    statews_network: Network,
) -> None:
    async with serve(limits=DROWSY) as server, connect() as connection:
        await anyio.sleep(SOON)
        session = only(server)
        async with go_missing(statews_network):
            await session.send("to be handled")
            await anyio.sleep(2)
            assert not session.is_asleep
        assert await connection.receive() == "to be handled"


async def test_a_message_that_was_dropped_and_not_told_of_keeps_its_session_awake(
    statews_network: Network,
) -> None:
    limits = SessionLimits(hibernate_after=8, retention=2)
    async with serve(limits=limits) as server, connect() as connection:
        await anyio.sleep(SOON)
        session = only(server)
        async with go_missing(statews_network):
            await session.send("too old by then")
            await anyio.sleep(20)
            assert not session.peer.log.entries
            assert not session.is_asleep
        await connection.wait_for(State.OPEN)


async def test_a_value_of_a_slot_keeps_its_session_awake(statews_network: Network) -> None:
    async with serve(limits=DROWSY) as server, connect() as connection:
        await anyio.sleep(SOON)
        session = only(server)
        session.set("price", "1")
        assert await connection.receive() == "1"
        async with go_missing(statews_network):
            await anyio.sleep(2)
            assert not session.is_asleep
        assert await connection.receive() == "1"


async def test_a_stranger_wakes_nobody(statews_network: Network) -> None:
    async with serve(limits=DROWSY) as server, connect() as connection:
        await anyio.sleep(SOON)
        session = only(server)
        async with go_missing(statews_network):
            await anyio.sleep(2)
            statews_network.accept()
            async with dialled() as speaker:
                welcome = await speaker.greet(sid=session.id, tok="guessed", n=1000)
                assert welcome["r"] == "reset"
                assert session.is_asleep
        await connection.wait_for(State.OPEN)
        assert connection.session == session.id


async def test_one_that_was_woken_for_nothing_falls_asleep_again(
    statews_network: Network,
) -> None:
    async with serve(limits=DROWSY) as server, connect():
        await anyio.sleep(SOON)
        session = only(server)
        async with go_missing(statews_network):
            for _ in range(2):
                await anyio.sleep(2)
                assert session.is_asleep
                assert session.peer.is_idle
                assert not session.is_asleep


async def test_one_that_sleeps_expires_and_is_remembered_as_any_other(
    statews_network: Network,
) -> None:
    limits = SessionLimits(hibernate_after=1, time_to_live=5, total_bytes=1, retention=1)
    async with serve(Desk().handle, limits=limits) as server, connect() as connection:
        await (await connection.send("one")).wait_acknowledged()
        first = only(server)
        async with go_missing(statews_network):
            await anyio.sleep(4)
            assert first.is_asleep
            await anyio.sleep(2)
            assert first.state is SessionState.EXPIRED
        await connection.wait_for(State.OPEN)
        assert only(server) is not first


async def test_one_that_sleeps_has_room_made_by_others_and_none_of_its_own(
    statews_network: Network,
) -> None:
    limits = SessionLimits(hibernate_after=1, total_bytes=100)
    async with serve(limits=limits) as server, connect() as one, connect() as two:
        await anyio.sleep(SOON)
        async with go_missing(statews_network):
            await anyio.sleep(2)
            asleep, awake = server.sessions[str(one.session)], server.sessions[str(two.session)]
            await awake.send("x" * 80)
            await awake.send("y" * 80)
            assert asleep.is_asleep
            assert server.statistics().size_bytes <= 100


async def test_a_session_of_a_store_sleeps_until_it_is_resumed(
    statews_network: Network,
) -> None:
    disk = MemoryStore()
    desk = Desk()
    async with connect(wait=False) as connection:
        async with serve(desk.handle, store=disk):
            await (await connection.send("one")).wait_acknowledged()
        async with serve(desk.handle, store=disk, limits=DROWSY) as server:
            session = only(server)
            assert session.is_asleep
            await (await connection.send("two")).wait_acknowledged()
            assert not session.is_asleep
            await (await connection.send("three")).wait_acknowledged()
            async with go_missing(statews_network):
                await anyio.sleep(2)
                assert session.is_asleep
        async with serve(desk.handle, store=disk) as server:
            assert only(server).position == 3
            await (await connection.send("four")).wait_acknowledged()
    assert desk.heard == ["one", "two", "three", "four"]
    assert desk.again == ["two", "four"]  # the process may have been in the middle of it


def test_one_that_sleeps_takes_less_than_a_kilobyte() -> None:
    journal = Journal(SessionLimits(), None)
    with traced() as memory:
        for number in range(1000):
            credentials = Credentials(principal=None, attempt=1, current=digest(str(number)))
            session = journal.new(secrets.token_urlsafe(16), credentials, 2**31 + number)
            journal.away[session] = float(number)
        assert memory()[0] < 1000 * 700
