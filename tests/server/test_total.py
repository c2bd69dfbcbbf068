"""What all sessions together may hold, and who gives where it is more."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import pytest

from statews import AtLimit, MemoryStore, OutboxFullError, Server, Session, SessionLimits
from statews.protocol.session import Credentials
from statews.server.journal import Journal
from statews.server.room import Room
from statews.server.upkeep import Upkeep

from .test_identity import old
from .world import SOON, Speaker, dialled, serve

pytestmark = pytest.mark.statews(limit=5000)

TOTAL = 10_000


async def silent(_: Session) -> None:
    """A handler that leaves sending to the tests."""
    await anyio.sleep_forever()


def limits(at_limit: AtLimit = AtLimit.WAIT) -> SessionLimits:
    return SessionLimits(total_bytes=TOTAL, at_limit=at_limit)


@asynccontextmanager
async def unheard(server: Server, count: int) -> AsyncGenerator[list[tuple[Session, Speaker]]]:
    """Sessions whose clients are there and acknowledge nothing of their own accord."""
    async with AsyncExitStack() as stack:
        there: list[tuple[Session, Speaker]] = []
        for _ in range(count):
            speaker = await stack.enter_async_context(dialled())
            await speaker.greet()
            there.append((server.sessions[str(speaker.sid)], speaker))
        await anyio.sleep(SOON)
        yield there


async def away(server: Server) -> Session:
    """A session whose client has left."""
    async with unheard(server, 1) as ((session, _),):
        pass
    await anyio.sleep(SOON)
    assert not session.is_attached
    return session


def held(session: Session) -> list[str | bytes]:
    return [entry.message for entry in session.peer.log.entries]


def is_consistent(server: Server) -> bool:
    logs = [session.peer.log.size_bytes for session in server.sessions.values()]
    return sum(logs) == server.statistics().size_bytes


async def keep_sending(session: Session, message: str | bytes) -> None:
    while True:
        await session.send(message)


MESSAGES = ["x" * 100, b"x" * 100, "ä" * 50]


@pytest.mark.parametrize("message", MESSAGES, ids=["ascii", "binary", "text"])
@pytest.mark.parametrize("make_store", [lambda: None, MemoryStore], ids=["memory", "store"])
async def test_send_waits_at_the_total_for_who_is_there(
    message: str | bytes, make_store: Callable[[], MemoryStore | None]
) -> None:
    async with serve(silent, limits=limits(), store=make_store()) as server:
        async with unheard(server, 10) as there, anyio.create_task_group() as group:
            for session, _ in there:
                group.start_soon(keep_sending, session, message)
            await anyio.sleep(100)
            # Each log may take a message while it is empty.
            assert TOTAL <= server.statistics().size_bytes <= TOTAL + 10 * 100
            assert all(session.sent for session, _ in there)
            assert is_consistent(server)
            group.cancel_scope.cancel()
        for session in list(server.sessions.values()):
            session.close()
        assert server.statistics().size_bytes == 0


async def test_put_and_broadcast_drop_the_oldest_of_who_is_there_at_the_total() -> None:
    async with serve(silent, limits=limits()) as server, unheard(server, 4) as there:
        for session, _ in there:
            for number in range(200):
                session.put(f"{number:100}")
        for number in range(200):
            server.broadcast(f"{number:100}")
        assert server.statistics().size_bytes <= TOTAL + 4 * 100
        for session, _ in there:
            assert str(held(session)[-1]).strip() == "199"
        assert is_consistent(server)


async def test_send_raises_at_the_total() -> None:
    async with (
        serve(silent, limits=limits(AtLimit.RAISE)) as server,
        unheard(server, 2) as ((one, _), (two, speaker)),
    ):
        for _ in range(100):
            await one.send("x" * 100)
        await two.send("into an empty log")
        with pytest.raises(OutboxFullError, match="all sessions together are at their limit"):
            await two.send("y")
        with pytest.raises(OutboxFullError, match="all sessions together are at their limit"):
            await one.send("y")
        await speaker.say("A1")
        await anyio.sleep(SOON)
        await two.send("into an empty log")


async def test_send_drops_the_oldest_at_the_total() -> None:
    async with (
        serve(silent, limits=limits(AtLimit.DROP_OLDEST)) as server,
        unheard(server, 2) as ((one, _), (two, _)),
    ):
        for number in range(150):
            await one.send(f"{number:100}")
        assert (one.sent, len(one.peer.log)) == (150, 100)
        await two.send("into an empty log")
        await two.send("behind it")
        assert held(two) == ["behind it"]


async def test_send_that_waits_at_the_total_goes_on_when_others_have_handled_theirs() -> None:
    async with (
        serve(silent, limits=limits()) as server,
        unheard(server, 3) as ((one, speaker), (two, _), (three, _)),
    ):
        for _ in range(99):
            await one.send("x" * 100)
        await two.send("x" * 100)
        await three.send("x")
        async with anyio.create_task_group() as group:
            group.start_soon(two.send, "y" * 500)
            group.start_soon(three.send, "y" * 100)
            await anyio.sleep(10)
            assert (two.sent, three.sent) == (1, 1)
            await speaker.say("A2")
            await anyio.sleep(1)
            assert (two.sent, three.sent) == (1, 2)  # the longer one has no room yet
            await speaker.say("A10")
            await anyio.sleep(1)
            assert (two.sent, three.sent) == (2, 2)


async def test_send_that_waits_at_the_total_goes_on_when_another_leaves() -> None:
    async with (
        serve(silent, limits=limits()) as server,
        unheard(server, 2) as ((one, _), (other, speaker)),
        anyio.create_task_group() as group,
    ):
        await one.send("x" * 100)
        for _ in range(99):
            await other.send("x" * 100)
        group.start_soon(one.send, "y" * 100)
        await anyio.sleep(10)
        assert one.sent == 1
        speaker.link.abort()
        await anyio.sleep(1)
        assert one.sent == 2
        assert other.peer.log.acknowledged == 1  # it gave its oldest


async def test_who_is_away_and_holds_the_most_gives_first() -> None:
    async with serve(silent, limits=limits()) as server, unheard(server, 1) as ((there, _),):
        few, most = await away(server), await away(server)
        for number in range(40):
            await few.send(f"{number:100}")
        for number in range(50):
            await most.send(f"{number:100}")
        for _ in range(15):
            await there.send("x" * 100)
        assert (len(few.peer.log), len(most.peer.log)) == (40, 45)
        assert str(held(most)[0]).strip() == "5"
        for _ in range(15):
            there.put("x" * 100)
        assert sorted([len(few.peer.log), len(most.peer.log)]) == [35, 35]
        for _ in range(70):
            await there.send("x" * 100)
        assert (len(few.peer.log), len(most.peer.log), len(there.peer.log)) == (0, 0, 100)
        assert is_consistent(server)


@pytest.mark.parametrize("make_store", [lambda: None, MemoryStore], ids=["memory", "store"])
async def test_what_was_just_sent_to_who_is_away_is_kept_whatever_others_hold(
    make_store: Callable[[], MemoryStore | None],
) -> None:
    async with serve(silent, limits=limits(), store=make_store()) as server:
        gone = await away(server)
        async with unheard(server, 1) as ((there, _),):
            for _ in range(200):
                there.put("x" * 100)
            await gone.send("one")
            assert held(gone) == ["one"]
            gone.put("two")
            assert held(gone) == ["two"]


async def test_who_is_back_gives_nothing_to_others() -> None:
    async with serve(silent, limits=limits()) as server:
        async with dialled() as speaker:
            await speaker.greet()
            back = server.sessions[str(speaker.sid)]
        for number in range(50):
            await back.send(f"{number:100}")
        async with dialled() as again, unheard(server, 1) as ((there, _),):
            assert (await again.greet(**old(speaker)))["r"] == "resumed"
            for _ in range(100):
                there.put("x" * 100)
            assert (len(back.peer.log), len(there.peer.log)) == (50, 50)
        await anyio.sleep(SOON)
        await back.send("x" * 100)
        assert len(back.peer.log) + len(there.peer.log) == 100


class Unwalked(dict[Session, float]):
    """Sessions that nobody is to look at one by one."""

    def __iter__(self) -> Iterator[Session]:
        raise AssertionError


async def test_nobody_who_sleeps_is_looked_at_when_room_is_made() -> None:
    async with serve(silent, limits=limits()) as server, unheard(server, 1) as ((there, _),):
        gone = await away(server)
        await gone.send("x" * 100)
        server._journal.away = Unwalked(server._journal.away)
        try:
            for _ in range(200):
                there.put("x" * 100)
        finally:
            server._journal.away = dict(server._journal.away.items())
        assert len(gone.peer.log) == 0


async def test_a_broadcast_to_many_that_are_away_stays_within_the_total() -> None:
    journal = Journal(SessionLimits(total_bytes=100_000), None)
    upkeep = Upkeep(journal, None, SessionLimits())  # type: ignore[arg-type]
    credentials = Credentials(principal=None, attempt=1, current=b"")
    sessions = [journal.new(str(number), credentials, 0) for number in range(2000)]
    for session in sessions:
        upkeep.left(session)
    for _ in range(3):
        for session in sessions:
            session.put("x" * 100)
    assert journal.room.size_bytes == 100_000
    assert max(len(session.peer.log) for session in sessions) == 1
    for session in sessions:
        journal.end(session)
    assert journal.room.size_bytes == 0
    assert journal.room.heaviest() is None


def test_what_is_outdated_is_forgotten() -> None:
    journal = Journal(SessionLimits(), None)
    room = Room(1000)
    credentials = Credentials(principal=None, attempt=1, current=b"")
    one, two = (journal.new(name, credentials, 0) for name in ("one", "two"))
    for size in range(1000):
        room.count(one, size, is_away=True)
        room.count(two, 500, is_away=True)
    assert len(room._heap) < 100
    assert room.heaviest() is one
    room.count(one, 400, is_away=True)
    assert room.heaviest() is two
    room.come_back(two)
    assert room.heaviest() is one
    room.count(one, 0, is_away=True)
    assert room.heaviest() is None
    assert (room.left, room.size_bytes) == (500, 500)


async def test_who_has_given_up_waiting_takes_the_turn_of_nobody() -> None:
    async with (
        serve(silent, limits=limits()) as server,
        unheard(server, 3) as ((large, speaker), (gone, _), (waiting, _)),
    ):
        await large.send("x" * TOTAL)
        for session in (gone, waiting):
            await session.send("1")  # an empty log always takes one
        with anyio.move_on_after(1):
            await gone.send("y" * 6000)
        async with anyio.create_task_group() as group:
            group.start_soon(waiting.send, "z" * 6000)
            await anyio.sleep(1)
            await speaker.say("A1")
            await anyio.sleep(1)
            group.cancel_scope.cancel()
        assert held(waiting) == ["1", "z" * 6000]
