"""A server whose sessions are stored: what goes out and is acknowledged waits for the store."""

from __future__ import annotations

import json

import anyio
import pytest

from statews import (
    LinkClosed,
    MemoryStore,
    Session,
    SessionLimits,
    State,
    StoreCorruptError,
    StoreError,
)
from statews.server.settings import Request
from statews.testing import Network

from .test_identity import old
from .world import SOON, Desk, connect, dialled, echo, go_missing, only, serve

pytestmark = pytest.mark.statews(limit=5000)


RECORD = {
    "principal": None,
    "n": 1,
    "current": "00" * 32,
    "issued": None,
    "rx": 0,
    "rc": 0,
    "acknowledged": 0,
    "chain": 0,
    "confirmed": 0,
}


class Disk(MemoryStore):
    """A store that takes its time, and fails when it is told to."""

    __slots__ = ("is_full", "seconds")

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        self.seconds = seconds
        self.is_full = False

    async def commit(self) -> None:
        await anyio.sleep(self.seconds)
        if self.is_full:
            raise StoreError("/disk", "the disk is full")
        await super().commit()


async def test_a_session_is_resumed_by_the_next_server_on_the_same_store() -> None:
    disk = Disk()
    first, second = Desk(), Desk()
    async with connect(wait=False) as connection:
        async with serve(first.handle, store=disk):
            await (await connection.send("to the first")).wait_acknowledged()
            sid = connection.session
        assert sid is not None
        await connection.wait_for(State.BACKING_OFF)
        async with serve(second.handle, store=disk) as server:
            await server.send(sid, "from the second")
            assert await connection.receive() == "from the second"
            await (await connection.send("to the second")).wait_acknowledged()
            assert connection.session == sid
            await connection.close()
    assert (first.heard, second.heard) == (["to the first"], ["to the second"])


async def test_a_broadcast_goes_out_when_it_is_stored() -> None:
    async with serve(store=Disk(seconds=0.1)) as server, connect() as connection:
        assert server.broadcast("to all") == 1
        with anyio.fail_after(5):
            assert await connection.receive() == "to all"


async def test_a_broadcast_to_a_client_that_is_away_is_stored() -> None:
    disk = Disk()
    async with connect(wait=False) as connection:
        async with serve(store=disk):
            await connection.connect()
        async with serve(store=disk) as server:
            assert server.broadcast("to those that are away") == 1
            await anyio.sleep(SOON)
        async with serve(store=disk):
            with anyio.fail_after(10):
                assert await connection.receive() == "to those that are away"
            await connection.close()


async def test_a_message_whose_send_was_cancelled_goes_out_all_the_same() -> None:
    async def handler(session: Session) -> None:
        with anyio.move_on_after(0.01):
            await session.send("cancelled in the store")
        await anyio.sleep_forever()

    async with serve(handler, store=Disk(seconds=0.1)), connect() as connection:
        with anyio.fail_after(5):
            assert await connection.receive() == "cancelled in the store"


async def test_a_message_is_acknowledged_though_the_receive_behind_it_was_cancelled() -> None:
    async def handler(session: Session) -> None:
        await session.receive()
        while True:
            with anyio.move_on_after(0.05):
                await session.receive()

    async with serve(handler, store=Disk(seconds=0.1)), connect() as connection:
        receipt = await connection.send("x")
        with anyio.fail_after(5):
            await receipt.wait_acknowledged()


async def test_nothing_is_acknowledged_that_could_not_be_stored() -> None:
    disk = Disk()
    desk = Desk()
    async with serve(desk.handle, store=disk), connect() as connection:
        await (await connection.send("stored")).wait_acknowledged()
        disk.is_full = True
        receipt = await connection.send("not stored")
        await connection.wait_for(State.BACKING_OFF)
        error = connection.snapshot().last_error
        assert isinstance(error, LinkClosed)
        assert (error.code, error.reason) == (4500, "the server failed")
        assert not receipt.state.is_final
        disk.is_full = False
        await connection.wait_for(State.OPEN)
        with anyio.fail_after(5):
            await receipt.wait_acknowledged()


async def test_a_server_that_cannot_store_a_session_welcomes_nobody() -> None:
    disk = Disk()
    async with serve(store=disk) as server:
        disk.is_full = True
        async with connect(wait=False) as connection:
            await connection.wait_for(State.BACKING_OFF)
            error = connection.snapshot().last_error
            assert isinstance(error, LinkClosed)
            assert (error.code, error.reason) == (4500, "the store failed")
            assert not server.sessions
            disk.is_full = False
            await connection.wait_for(State.OPEN)
            assert len(server.sessions) == 1


async def test_a_session_whose_resumption_could_not_be_stored_still_expires(
    statews_network: Network,
) -> None:
    disk = Disk()
    async with serve(echo, store=disk, limits=SessionLimits(time_to_live=60)) as server:
        async with connect() as connection:
            async with go_missing(statews_network):
                disk.is_full = True
            await anyio.sleep(10)
            assert connection.state is not State.OPEN
        assert len(server.sessions) == 1
        await anyio.sleep(70)
        assert not server.sessions


async def test_of_two_links_that_wait_for_the_store_the_later_attempt_wins() -> None:
    disk = Disk()
    async with serve(store=disk) as server, dialled() as first:
        await first.greet()
        disk.seconds = 1.0
        async with dialled() as early, dialled() as late:
            await early.hello(**old(first, 2))
            await anyio.sleep(0.5)
            assert (await late.greet(**old(first, 3)))["r"] == "resumed"
            error = await early.ending()
            assert (error.code, error.reason) == (4409, "a newer link took over")
            assert only(server).is_attached


async def test_a_session_that_ends_while_it_is_resumed_is_gone() -> None:
    disk = Disk()
    async with serve(store=disk) as server:
        async with dialled() as first:
            await first.greet()
        disk.seconds = 1.0
        async with dialled() as again:
            await again.hello(**old(first))
            await anyio.sleep(0.5)
            only(server).close()
            error = await again.ending()
            assert (error.code, error.reason) == (4410, "the session is over")


async def test_a_session_that_was_taken_over_in_vain_still_expires() -> None:
    disk = Disk()
    async with serve(store=disk, limits=SessionLimits(time_to_live=60)) as server:
        async with dialled() as first, dialled() as second:
            await first.greet()
            disk.is_full = True
            await second.hello(**old(first))
            assert (await second.ending()).code == 4500
        assert len(server.sessions) == 1
        disk.is_full = False
        await anyio.sleep(70)
        assert not server.sessions


async def test_what_could_not_be_stored_is_stored_later_without_being_asked() -> None:
    disk = Disk()
    async with serve(store=disk) as server, connect() as connection:
        disk.is_full = True
        server.broadcast("x")
        await anyio.sleep(10)
        disk.is_full = False
        with anyio.fail_after(3):
            assert await connection.receive() == "x"


async def test_a_session_that_is_over_is_forgotten_by_the_store() -> None:
    disk = Disk()
    async with serve(store=disk) as server, connect() as connection:
        server.broadcast("x")
        assert await connection.receive() == "x"
    contents = await disk.open()
    assert (contents.messages, contents.positions) == ([], {})


async def test_the_next_server_gives_again_what_the_last_one_had_not_handled() -> None:
    disk = Disk()
    desk = Desk()

    async def busy(session: Session) -> None:
        await session.receive()
        await session.receive()
        await anyio.sleep_forever()

    async with connect(wait=False) as connection:
        async with serve(busy, store=disk):
            await connection.connect()
            for text in ("one", "two", "three"):
                await connection.send(text)
            await anyio.sleep(1)
        async with serve(desk.handle, store=disk):
            await connection.flush()
    assert desk.heard == ["two", "three"]
    assert desk.again == ["two"]


@pytest.mark.parametrize(
    "record",
    [
        "{}",
        "3",
        "[]",
        json.dumps({**RECORD, "n": "1"}),
        json.dumps({**RECORD, "current": "no hex"}),
        json.dumps({**RECORD, "principal": 3}),
        json.dumps({**RECORD, "rx": None}),
    ],
)
async def test_a_store_that_holds_no_sessions_is_left_as_it_is(record: str) -> None:
    disk = Disk()
    await disk.open()
    disk.save_position("sid", record)
    await disk.close()
    with pytest.raises(StoreCorruptError, match="the store holds a session that is none"):
        await serve(store=disk).__aenter__()
    assert (await disk.open()).positions == {"sid": record}


class Filmed(Disk):
    """A store that takes along what is noted while a commit waits; what it then holds is seen."""

    __slots__ = ("seen",)

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seen: list[tuple[int, list[int]]] = []

    async def commit(self) -> None:
        await super().commit()
        for sid, text in self._positions.items():
            self.seen.append((json.loads(text)["acknowledged"], [*self._streams.get(sid, ())]))


async def test_a_message_is_forgotten_with_the_record_that_says_so() -> None:
    disk = Filmed(seconds=0.03)

    async def speak(session: Session) -> None:
        for number in range(100):
            await session.send(str(number))
            await anyio.sleep(0.02)

    async with serve(speak, store=disk), connect() as connection:
        with anyio.fail_after(100):
            for number in range(100):
                assert await connection.receive() == str(number)
    assert any(acknowledged > 50 for acknowledged, _ in disk.seen)
    holes = [(upto, kept) for upto, kept in disk.seen if kept and min(kept) > upto + 1]
    assert holes == []


class Noting(Disk):
    """A store that writes down what it is asked to keep."""

    __slots__ = ("forgotten", "saved")

    def __init__(self) -> None:
        super().__init__()
        self.saved: list[str] = []
        self.forgotten: set[str] = set()

    def save_position(self, name: str, position: str) -> None:
        self.saved.append(name)
        super().save_position(name, position)

    def forget(self, stream: str) -> None:
        self.forgotten.add(stream)
        super().forget(stream)

    def kept(self) -> int:
        """How many messages it has."""
        return sum(map(len, self._streams.values()))


async def test_what_could_not_be_stored_is_not_noted_again_unless_it_changes() -> None:
    disk = Noting()
    async with serve(store=disk) as server, connect() as one, connect() as two:
        await anyio.sleep(1)
        disk.is_full = True
        del disk.saved[:]
        server.broadcast("x")
        await anyio.sleep(10)
        assert sorted(disk.saved) == sorted(server.sessions)
        disk.is_full = False
        for connection in (one, two):
            with anyio.fail_after(3):
                assert await connection.receive() == "x"


async def test_strangers_who_are_refused_leave_nothing_to_do_behind() -> None:
    disk = Noting()
    async with serve(store=disk) as server:
        disk.is_full = True
        for _ in range(20):
            async with dialled() as speaker:
                await speaker.hello()
                assert (await speaker.ending()).code == 4500
        assert not server.sessions
        assert len(disk.forgotten) == 1
        disk.is_full = False
        async with dialled() as speaker:
            assert (await speaker.greet())["r"] == "new"
        async with dialled() as speaker:
            await speaker.greet()
        assert len(server.sessions) == 2


async def test_the_store_is_soon_told_what_the_log_has_dropped() -> None:
    disk = Noting()
    async with serve(store=disk, limits=SessionLimits(messages=100)) as server:
        async with dialled() as speaker:
            await speaker.greet()
        for number in range(1000):
            server.broadcast(str(number))
            assert disk.kept() < 150
        await anyio.sleep(1)
        assert disk.kept() == 100
        session = only(server)
        (text,) = disk._positions.values()
        assert json.loads(text)["acknowledged"] == session.peer.log.acknowledged == 900


async def test_a_handler_that_goes_on_gets_nothing_more_until_the_store_works() -> None:
    disk, heard = Disk(), list[object]()

    async def handler(session: Session) -> None:
        while True:
            try:
                heard.append(await session.receive())
            except StoreError:
                await anyio.sleep(1)

    async with serve(handler, store=disk), connect() as connection:
        await (await connection.send("stored")).wait_acknowledged()
        disk.is_full = True
        await connection.send("not stored")
        await connection.send("not given out")
        await anyio.sleep(10.5)
        assert heard == ["stored", "not stored"]
        disk.is_full = False
        await connection.flush()
        assert heard == ["stored", "not stored", "not given out"]


async def test_a_cancelled_send_of_another_session_does_not_make_the_store_work() -> None:
    disk, heard = Disk(), list[object]()

    async def handler(session: Session) -> None:
        while session.principal == "reader":
            try:
                heard.append(await session.receive())
            except StoreError:
                await anyio.sleep(0.5)
        while True:
            with anyio.move_on_after(0.01):
                await session.send("x")
            await anyio.sleep(0.25)

    async def authenticate(request: Request) -> str:
        return str(request.auth)

    async with (
        serve(handler, store=disk, authenticate=authenticate),
        dialled() as reader,
        dialled() as other,
    ):
        await reader.greet(auth="reader")
        await other.greet(auth="other")
        disk.is_full, disk.seconds = True, 0.6
        await reader.say("M1;a", "M2;b")
        await anyio.sleep(8)
        assert heard == ["a"]
        disk.is_full = False
        await anyio.sleep(8)
        assert heard == ["a", "b"]
