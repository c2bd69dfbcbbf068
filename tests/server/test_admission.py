"""Who is let in, when, and what the others are told; and how a server sends all away."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import pytest

import statews
from statews import Admission, LinkClosed, Rate, Request, SessionLimits, State, UpgradeRefused
from statews.protocol.admission import Hint
from statews.testing import Network

from .test_identity import old
from .world import HOST, SOON, Desk, Speaker, connect, dialled, serve

pytestmark = pytest.mark.statews(limit=5000)

SLOWLY = Rate(per_second=1, burst=1)
QUICKLY = Rate(per_second=1000, burst=100)


@asynccontextmanager
async def crowd(size: int) -> AsyncGenerator[list[Speaker]]:
    """So many links, one after the other, on which nothing was said."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(dialled()) for _ in range(size)]


async def test_who_cannot_come_in_soon_is_refused_before_there_is_a_websocket() -> None:
    admission = Admission(handshakes=SLOWLY, patience=0)
    async with serve(admission=admission) as server, dialled():
        with pytest.raises(UpgradeRefused) as caught:
            await dialled().__aenter__()
        assert caught.value.status == 503
        assert int(caught.value.headers["retry-after"]) >= 1
        assert server.statistics().refused == 1


async def test_who_can_come_in_soon_waits_for_its_turn() -> None:
    came: list[float] = []

    async def come() -> None:
        async with dialled() as speaker:
            came.append(anyio.current_time())
            await speaker.greet()

    admission = Admission(handshakes=Rate(per_second=2, burst=1))
    async with serve(admission=admission) as server, anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(come)
        await anyio.sleep(5)
        assert came == [pytest.approx(number / 2) for number in range(4)]
        assert server.statistics().refused == 0


async def test_new_clients_wait_for_their_welcome_and_returning_ones_do_not() -> None:
    welcomed: list[tuple[float, str]] = []

    async def come(**hello: object) -> None:
        async with dialled() as speaker:
            welcome = await speaker.greet(**hello)
            welcomed.append((anyio.current_time(), welcome["r"]))

    async def come_back() -> None:
        await come(**old(first))

    admission = Admission(handshakes=QUICKLY, new=SLOWLY, returning=QUICKLY)
    async with serve(admission=admission), anyio.create_task_group() as group:
        async with dialled() as first:
            await first.greet()
        group.start_soon(come)
        group.start_soon(come)
        await anyio.sleep(SOON)
        group.start_soon(come_back)
        await anyio.sleep(5)
    assert welcomed == [(SOON, "resumed"), (1, "new"), (2, "new")]


async def test_who_would_wait_too_long_for_its_welcome_is_told_when_to_come_back() -> None:
    admission = Admission(handshakes=QUICKLY, new=SLOWLY, patience=0)
    async with serve(admission=admission) as server, crowd(2) as (first, second):
        await first.greet()
        await second.hello()
        error = await second.ending()
        assert error.code == 1013
        assert error.reason.startswith("retry=")
        assert server.statistics().refused == 1
        assert len(server.sessions) == 1


async def test_one_address_has_so_many_connections() -> None:
    async with serve(admission=Admission(per_address=2)), crowd(2):
        with pytest.raises(UpgradeRefused, match="503"):
            await dialled().__aenter__()


async def test_so_many_connections_have_not_said_hello() -> None:
    async with serve(admission=Admission(unheard=2)), crowd(2) as (first, _):
        with pytest.raises(UpgradeRefused, match="503"):
            await dialled().__aenter__()
        await first.greet()
        async with dialled() as third:
            await third.say("and now there is room")


async def test_a_connection_that_ends_makes_room() -> None:
    async with serve(admission=Admission(connections=1)) as server:
        async with dialled():
            with pytest.raises(UpgradeRefused, match="503"):
                await dialled().__aenter__()
        await anyio.sleep(SOON)
        assert server.statistics().links == 0
        async with dialled() as speaker:
            await speaker.greet()


async def test_clients_that_were_refused_come_back_and_all_get_in() -> None:
    admission = Admission(
        handshakes=Rate(per_second=5, burst=1),
        new=Rate(per_second=2, burst=1),
        patience=1,
    )
    async with serve(admission=admission) as server, AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(connect(wait=False)) for _ in range(30)]
        for connection in connections:
            await connection.wait_for(State.OPEN)
        assert anyio.current_time() < 60
        assert len(server.sessions) == 30
        assert server.statistics().refused > 0


# Drain.


async def test_drain_sends_everybody_away_in_a_window_of_its_own() -> None:
    async with serve() as server, crowd(4) as speakers:
        for speaker in speakers:
            await speaker.greet()
        async with anyio.create_task_group() as group:
            group.start_soon(server.drain, 8)
            for number, speaker in enumerate(speakers):
                low, high = 2000 * number, 2000 * (number + 1)
                assert await speaker.hear() == f"G{low}-{high};the server is about to leave"


async def test_drain_closes_the_links_of_those_that_stay() -> None:
    async with serve() as server, crowd(2) as speakers:
        for speaker in speakers:
            await speaker.greet()
        endings: list[LinkClosed] = []
        async with anyio.create_task_group() as group:
            group.start_soon(server.drain, 8)
            endings += [await speaker.ending() for speaker in speakers]
        assert [(error.code, error.reason) for error in endings] == [
            (1012, "retry=0-4000"),
            (1012, "retry=4000-8000"),
        ]
        assert anyio.current_time() <= 11  # those that do not even answer a close included
        assert server.statistics().links == 0
        assert server.statistics().away == 2


async def test_who_comes_during_a_drain_is_refused() -> None:
    async with serve() as server, dialled() as speaker, anyio.create_task_group() as group:
        await speaker.greet()
        group.start_soon(server.drain, 20)
        await anyio.sleep(SOON)
        with pytest.raises(UpgradeRefused) as caught:
            await dialled().__aenter__()
        assert caught.value.status == 503
        assert 20 <= int(caught.value.headers["retry-after"]) <= 41


async def test_who_says_hello_during_a_drain_is_told_to_come_back() -> None:
    async with serve() as server, crowd(2) as (first, late):
        await first.greet()
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                group.start_soon(server.drain, 20)
                await anyio.sleep(SOON)
                await late.hello()
                error = await late.ending()
                assert (error.code, error.reason) == (1013, "retry=20000-41000")
        assert len(server.sessions) == 1


@pytest.mark.parametrize("wait", ["handshake", "welcome"])
async def test_who_waits_for_its_turn_when_a_drain_begins_is_not_let_in(wait: str) -> None:
    rates = {"handshakes": QUICKLY, "new": QUICKLY, "returning": QUICKLY}
    rates |= {"handshakes": SLOWLY} if wait == "handshake" else {"new": SLOWLY}
    ended: list[str] = []

    async def come() -> None:
        try:
            async with dialled() as speaker:
                await speaker.greet()
        except (UpgradeRefused, LinkClosed) as error:
            ended.append(type(error).__name__)

    async with serve(admission=Admission(**rates)) as server, dialled() as first:  # type: ignore[arg-type]
        await first.greet()
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                group.start_soon(come)
                await anyio.sleep(SOON)
                await server.drain(20)
        assert len(server.sessions) == 1
    assert ended == ["UpgradeRefused" if wait == "handshake" else "LinkClosed"]


async def test_who_is_being_let_in_when_a_drain_begins_does_not_hold_it_up() -> None:
    async def authenticate(request: Request) -> str:
        if request.auth:
            await anyio.sleep(3)
        return "bob"

    async with serve(authenticate=authenticate) as server, crowd(2) as (first, slow):
        await first.greet()
        await slow.hello(auth=True)
        with anyio.fail_after(60):
            await server.drain(20)


async def test_a_drain_of_an_empty_server_ends_at_once() -> None:
    async with serve() as server:
        await server.drain()
        assert anyio.current_time() == 0


async def test_clients_come_back_to_the_next_server_in_their_windows() -> None:
    desk = Desk()
    store = statews.MemoryStore()
    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(connect(wait=False)) for _ in range(10)]
        async with serve(store=store) as server:
            for connection in connections:
                await connection.connect()
            order = list(server.sessions)
            began = anyio.current_time()
            await server.drain(20)
            assert anyio.current_time() - began < 1
        async with serve(desk.handle, store=store) as server:
            for connection in connections:
                number = order.index(connection.session or "")
                retry_at = connection.snapshot().retry_at
                assert retry_at is not None
                low, high = began + 2 * number, began + 2 * (number + 1)
                assert low - 0.01 <= retry_at <= high + 1  # the backoff widens what is narrow
            for connection in connections:
                await connection.wait_for(State.OPEN)
                assert connection.session in server.sessions
            assert len(server.sessions) == 10


async def test_a_client_obeys_an_order_to_go_away(statews_network: Network) -> None:
    async with serve() as server, connect(random=lambda: 0.999) as connection:
        session = server.sessions[connection.session or ""]
        began = anyio.current_time()
        session.send_away(Hint(at_least=7, at_most=9), "move")
        await connection.wait_for(State.BACKING_OFF)
        error = connection.snapshot().last_error
        assert isinstance(error, LinkClosed)
        assert (error.code, error.reason) == (1012, "move retry=7000-9000")
        await connection.wait_for(State.OPEN)
        assert began + 7 <= anyio.current_time() <= began + 9
        assert len(statews_network.dials) == 2
        assert connection.session == session.id


async def test_what_a_client_waits_for_is_no_hello_for_ever() -> None:
    limits = SessionLimits(hello=3)
    async with serve(limits=limits), dialled() as speaker:
        error = await speaker.ending()
        assert (error.code, error.reason) == (4408, "no hello within 3 seconds")
        assert anyio.current_time() == 3


async def test_a_server_whose_address_is_taken_leaves_nothing() -> None:
    store = statews.MemoryStore()
    async with statews.listen(print, HOST, 80):  # type: ignore[arg-type]
        with pytest.raises(OSError, match="in use already"):
            await serve(store=store).__aenter__()
    async with serve(store=store), connect():
        pass
