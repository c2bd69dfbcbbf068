"""What a server sends: to one, to groups, to those that are away, and what it keeps for them."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest

from statews import (
    Connection,
    ConnectionClosed,
    Gap,
    Resume,
    Server,
    Session,
    SessionLimits,
    State,
    UsageError,
    Window,
)
from statews.testing import Network

from .world import SOON, connect, dialled, go_missing, only, seen_by, serve

pytestmark = pytest.mark.statews(limit=5000)


def lost(after: int, before: int) -> Gap:
    reason = "the server has not kept what was missed"
    return Gap(stream="session", key=None, after=after, before=before, reason=reason)


# Groups.


async def test_a_broadcast_reaches_all_or_those_in_a_group() -> None:
    async with serve() as server, connect() as one, connect() as other:
        assert one.session is not None
        server.join(server.sessions[one.session], "cats")
        assert server.broadcast("to all") == 2
        assert server.broadcast("to cats", group="cats") == 1
        assert server.broadcast("to dogs", group="dogs") == 0
        assert await seen_by(one) == ["to all", "to cats"]
        assert await seen_by(other) == ["to all"]
        server.leave(server.sessions[one.session], "cats")
        server.leave(server.sessions[one.session], "never joined")
        assert server.broadcast("to cats", group="cats") == 0


async def test_a_broadcast_of_a_server_that_was_left_reaches_nobody() -> None:
    async with serve() as server, connect() as one:
        assert one.session is not None
        server.join(server.sessions[one.session], "cats")
    assert server.broadcast("to all") == 0
    assert server.broadcast("to cats", group="cats") == 0


async def test_who_is_over_is_in_no_group_and_joins_none() -> None:
    async with serve() as server:
        async with connect():
            session = only(server)
            server.join(session, "cats")
        await anyio.sleep(SOON)
        server.join(session, "dogs")
        assert server.broadcast("anybody", group="cats") == 0
        assert server.broadcast("anybody", group="dogs") == 0


async def test_a_broadcast_waits_neither_for_the_slow_nor_for_the_absent(
    statews_network: Network,
) -> None:
    limits = SessionLimits(messages=20, window=Window(4))
    async with serve(limits=limits) as server, connect() as away:
        async with go_missing(statews_network):
            pass
        async with go_missing(statews_network):
            began = anyio.current_time()
            for number in range(50):
                server.broadcast(str(number))
            assert anyio.current_time() == began
        assert await seen_by(away, 30) == [lost(0, 31), *map(str, range(30, 50))]


async def test_who_does_not_read_misses_the_oldest_and_keeps_its_link() -> None:
    resume = Resume(window=Window(4))
    async with (
        serve(limits=SessionLimits(messages=6)) as server,
        connect(session=resume) as slow,
        connect() as quick,
    ):
        for number in range(30):
            server.broadcast(str(number))
            await anyio.sleep(0.3)
        assert await seen_by(quick) == [str(number) for number in range(30)]
        assert slow.state is State.OPEN
        assert only_links(server) == [1, 1]
        seen = await seen_by(slow, 5)
        assert seen[-1] == "29"
        numbers = [int(str(event)) for event in seen if not isinstance(event, Gap)]
        gaps = [event for event in seen if isinstance(event, Gap)]
        assert numbers == sorted(set(numbers))
        assert len(numbers) + sum(_size(gap) for gap in gaps) == 30


def only_links(server: Server) -> list[int]:
    return [session.links for session in server.sessions.values()]


def _size(gap: Gap) -> int:
    assert isinstance(gap.before, int)
    assert isinstance(gap.after, int)
    return gap.before - gap.after - 1


async def test_what_is_no_message_is_broadcast_to_nobody() -> None:
    async with serve() as server, connect() as connection:
        wrong: object = 3
        with pytest.raises(UsageError):
            server.broadcast(wrong)  # type: ignore[arg-type]
        assert await seen_by(connection) == []


# Slots, volatile messages.


async def test_of_a_slot_only_the_newest_value_is_sent(statews_network: Network) -> None:
    async with serve() as server, connect() as connection:
        session = only(server)
        session.set("price", "1")
        assert await connection.receive() == "1"
        async with go_missing(statews_network):
            for price in ("2", "3", "4"):
                session.set("price", price)
            session.set("state", "away")
        assert await seen_by(connection, 10) == ["4", "away"]


async def test_the_newest_value_of_a_slot_is_sent_again_after_a_resumption(
    statews_network: Network,
) -> None:
    async with serve() as server, connect() as connection:
        only(server).set("price", "1")
        assert await connection.receive() == "1"
        async with go_missing(statews_network):
            pass
        assert await seen_by(connection, 10) == ["1"]


async def test_slots_have_names_and_there_are_not_too_many() -> None:
    async with serve() as server, connect():
        session = only(server)
        for name in ("", "a b", "a,b", "a;b", "x" * 65, "ä"):
            with pytest.raises(UsageError, match="a slot is named by"):
                session.set(name, "x")
        for number in range(1024):
            session.set(f"slot-{number}", "x")
        session.set("slot-0", "y")
        with pytest.raises(UsageError, match="at most 1024 slots"):
            session.set("one-too-many", "x")


async def test_a_volatile_message_is_written_now_or_never(statews_network: Network) -> None:
    async with serve() as server, connect() as connection:
        session = only(server)
        assert session.send_volatile("now") is True
        assert await connection.receive() == "now"
        async with go_missing(statews_network):
            assert session.send_volatile("never") is False
        assert await seen_by(connection, 10) == []
        for _ in range(2):
            with pytest.raises(UsageError):
                session.send_volatile(3)  # type: ignore[arg-type]
            statews_network.reset()
            await anyio.sleep(SOON)


async def test_a_volatile_message_for_which_there_is_no_room_is_not_written(
    statews_network: Network,
) -> None:
    async with serve() as server, connect():
        session = only(server)
        statews_network.freeze()
        written = [session.send_volatile("x" * 10_000) for _ in range(100)]
        assert written[0] is True
        assert written[-1] is False


SENDINGS: list[Callable[[Session], object]] = [
    lambda session: session.put("x"),
    lambda session: session.set("slot", "x"),
]


async def test_nothing_is_sent_in_a_session_that_is_over() -> None:
    async with serve() as server:
        async with connect():
            session = only(server)
        await anyio.sleep(SOON)
        for send in SENDINGS:
            with pytest.raises(ConnectionClosed, match="the session is over: ended"):
                send(session)
        with pytest.raises(ConnectionClosed, match="the session is over: ended"):
            await session.send("x")
        session.close()  # again, which is fine
        assert session.send_volatile("x") is False


async def test_a_session_is_ended_with_the_code_and_reason_that_are_given() -> None:
    async with serve() as server, dialled() as speaker:
        await speaker.greet()
        only(server).close(4321, "because")
        error = await speaker.ending()
        assert (error.code, error.reason) == (4321, "because")
        assert not server.sessions


async def test_what_others_put_goes_out_while_the_handler_is_busy() -> None:
    """It has just read the link itself, and acknowledgements make room for what waits."""
    busy = anyio.Event()

    async def handle(session: Session) -> None:
        for _ in range(3):
            await session.receive()
        busy.set()
        await anyio.sleep_forever()

    async with serve(handle) as server, connect(session=Resume(window=Window(8))) as client:
        session = only(server)
        for number in range(3):
            await client.send(f"{number}")
            await anyio.sleep(SOON)
        assert busy.is_set()
        began = anyio.current_time()
        for number in range(100):
            session.put(f"{number}")
            assert await client.receive() == f"{number}"
        assert anyio.current_time() < began + 0.5


@pytest.mark.parametrize("is_polling", [False, True])
async def test_a_server_leaves_at_once_though_its_clients_go_on_sending(
    statews_network: Network, is_polling: bool
) -> None:
    """Whoever has read the link for the handler, somebody reads on up to the client's close."""
    statews_network.slow(latency=0.12 if is_polling else 0.0)

    async def handle(session: Session) -> None:
        while not is_polling:
            await session.receive()
        while True:
            with anyio.move_on_after(0.05):
                await session.receive()

    async def send_on(client: Connection) -> None:
        for number in range(10_000):
            await client.send(f"{number}")
            await anyio.sleep(0.001)

    async with connect(wait=False) as client, anyio.create_task_group() as group:
        async with serve(handle):
            await client.connect()
            group.start_soon(send_on, client)
            await anyio.sleep(1.0)
            began = anyio.current_time()
        assert anyio.current_time() < began + 1.0
        group.cancel_scope.cancel()
