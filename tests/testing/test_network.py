"""Links of memory: what a socket would do, under a clock that jumps."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import anyio
import pytest
from anyio import current_time

import statews
from statews import LinkDropped, State
from statews.errors import DialError
from statews.testing.faults import Way
from statews.testing.memory import MemoryStream
from statews.testing.network import Network
from statews.testing.virtual import BACKENDS, Backend, run
from statews.transport.stream import receive, send
from statews.transport.transit import UNKNOWN

HOST, PORT = "example.org", 80


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    chosen: Backend = request.param
    return chosen


async def join(network: Network) -> tuple[MemoryStream, MemoryStream]:
    """A client's stream, and the server's."""
    (acceptor,) = await network.listen_tcp(HOST, PORT)
    client = await network.connect_tcp(HOST, PORT)
    server, _ = await acceptor.accept()
    acceptor.close()
    return client, server


Play = Callable[[Network, MemoryStream, MemoryStream], Awaitable[None]]


def play(backend: Backend, scene: Play, *, capacity: int = 65536) -> Network:
    async def main() -> Network:
        network = Network(capacity=capacity)
        client, server = await join(network)
        await scene(network, client, server)
        client.close()
        server.close()
        assert network.links == 0
        return network

    return run(main, backend=backend)


def test_bytes_arrive_in_order_after_the_latency(backend: Backend) -> None:
    async def scene(network: Network, client: MemoryStream, server: MemoryStream) -> None:
        network.slow(latency=2.0)
        began = current_time()
        await send(client, b"one")
        await anyio.sleep(1)
        await send(client, b"two")
        assert await receive(server) == b"one"
        assert current_time() == began + 2
        assert await receive(server) == b"two"
        assert current_time() == began + 3

    play(backend, scene)


def test_jitter_changes_the_times_and_not_the_order(backend: Backend) -> None:
    async def scene(network: Network, client: MemoryStream, server: MemoryStream) -> None:
        network.slow(jitter=1.0)
        times, data = [], b""
        for number in range(20):
            await send(client, bytes([number]))
        while len(data) < 20:
            data += await receive(server)
            times.append(current_time())
        assert data == bytes(range(20))
        assert len(set(times)) > 2

    play(backend, scene)


def test_a_lost_piece_is_late_by_a_retransmission(backend: Backend) -> None:
    async def scene(network: Network, client: MemoryStream, server: MemoryStream) -> None:
        network.slow(loss=1.0)
        began = current_time()
        await send(client, b"x")
        await receive(server)
        assert current_time() - began == pytest.approx(0.2)

    play(backend, scene)


def test_a_narrow_line_takes_its_time(backend: Backend) -> None:
    async def scene(network: Network, client: MemoryStream, server: MemoryStream) -> None:
        network.slow(bandwidth=1000, way=Way.UP)
        began = current_time()
        for _ in range(2):
            await send(client, bytes(5000))
        received = 0
        while received < 10_000:
            received += len(await receive(server))
        assert current_time() - began == pytest.approx(10)

    play(backend, scene)


def test_what_passes_a_narrow_line_arrives_bit_by_bit(backend: Backend) -> None:
    async def scene(network: Network, client: MemoryStream, server: MemoryStream) -> None:
        network.slow(bandwidth=100, latency=1)
        await send(client, bytes(1010))
        sizes: list[int] = []
        while sum(sizes) < 1010:
            sizes.append(len(await receive(server)))
            assert current_time() == pytest.approx(1 + sum(sizes) / 100)
        assert sizes == [25] * 40 + [10]

    play(backend, scene)


def test_what_the_peer_has_received_has_arrived(backend: Backend) -> None:
    async def scene(network: Network, client: MemoryStream, server: MemoryStream) -> None:
        assert client.transit() == (0, 0)
        await send(client, bytes(10))
        assert client.transit() == (0, 10)
        await receive(server, 4)
        assert client.transit() == (4, 6)
        network.freeze(Way.DOWN)
        assert client.transit() == UNKNOWN
        network.thaw()
        await receive(server)
        assert client.transit() == (10, 0)
        assert server.transit() == (0, 0)

    play(backend, scene)


def test_a_reader_that_does_not_read_holds_the_writer_back(backend: Backend) -> None:
    async def scene(_: Network, client: MemoryStream, server: MemoryStream) -> None:
        with anyio.move_on_after(5) as scope:
            await send(client, bytes(1001))
        assert scope.cancelled_caught
        assert await receive(server, 600) == bytes(600)
        await client.wait_writable()
        assert client.send_nowait(bytes(1001)) == 600

    play(backend, scene, capacity=1000)


def test_a_frozen_line_carries_nothing_and_tells_of_no_end(backend: Backend) -> None:
    async def scene(network: Network, client: MemoryStream, server: MemoryStream) -> None:
        network.freeze(Way.UP)
        await send(client, b"held")
        client.send_eof()
        with anyio.move_on_after(1000) as scope:
            await receive(server)
        assert scope.cancelled_caught
        await send(server, b"the other way")
        assert await receive(client) == b"the other way"
        network.thaw()
        assert await receive(server) == b"held"
        assert await receive(server) == b""

    play(backend, scene)


def test_who_waits_on_a_frozen_line_is_woken_by_its_thaw(backend: Backend) -> None:
    async def scene(network: Network, client: MemoryStream, server: MemoryStream) -> None:
        async def thaw() -> None:
            await anyio.sleep(7)
            network.thaw()

        network.freeze()
        await send(client, b"x")
        async with anyio.create_task_group() as group:
            group.start_soon(thaw)
            assert await receive(server) == b"x"
            assert current_time() == 7

    play(backend, scene)


def test_a_reset_is_told_to_both_and_takes_what_is_under_way(backend: Backend) -> None:
    async def scene(network: Network, client: MemoryStream, server: MemoryStream) -> None:
        network.slow(latency=1)
        await send(client, b"never arrives")
        assert network.reset() == 1
        for stream in (client, server):
            with pytest.raises(LinkDropped, match="reset by peer"):
                await receive(stream)
            with pytest.raises(LinkDropped, match="broken pipe"):
                await send(stream, b"x")

    play(backend, scene)


def test_a_cut_is_an_orderly_end_even_of_a_frozen_link(backend: Backend) -> None:
    async def scene(network: Network, client: MemoryStream, server: MemoryStream) -> None:
        network.freeze()
        assert network.cut() == 1
        assert await receive(client) == await receive(server) == b""

    play(backend, scene)


def test_a_link_is_cut_after_so_many_bytes(backend: Backend) -> None:
    async def scene(network: Network, client: MemoryStream, server: MemoryStream) -> None:
        network.cut_after(5, Way.UP)
        await send(client, b"123")
        assert client.send_nowait(b"456") == 3  # the system took them
        assert await receive(server) == b"12345"
        for stream in (client, server):
            with pytest.raises(LinkDropped):
                await receive(stream)

    play(backend, scene)


def test_closing_tells_the_peer_behind_what_was_sent(backend: Backend) -> None:
    async def scene(_: Network, client: MemoryStream, server: MemoryStream) -> None:
        await send(client, b"last words")
        client.close()
        assert await receive(server) == b"last words"
        assert await receive(server) == b""

    play(backend, scene)


def test_closing_with_bytes_unread_is_a_reset(backend: Backend) -> None:
    async def scene(_: Network, client: MemoryStream, server: MemoryStream) -> None:
        await send(client, b"unread")
        server.close()
        with pytest.raises(LinkDropped, match="reset"):
            await receive(client)

    play(backend, scene)


def test_what_comes_for_a_closed_stream_is_answered_with_a_reset(backend: Backend) -> None:
    async def scene(_: Network, client: MemoryStream, server: MemoryStream) -> None:
        server.close()
        assert await receive(client) == b""
        assert client.send_nowait(b"too late") == 8
        with pytest.raises(LinkDropped, match="broken pipe"):
            client.send_nowait(b"x")

    play(backend, scene)


@pytest.mark.parametrize("act", [MemoryStream.close, MemoryStream.abort])
def test_closing_wakes_whoever_waits(
    backend: Backend, act: Callable[[MemoryStream], None]
) -> None:
    async def scene(_: Network, client: MemoryStream, server: MemoryStream) -> None:
        async def wait() -> None:
            with pytest.raises(LinkDropped, match="closed while receiving"):
                await client.wait_readable()

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            act(client)
            act(client)
        with pytest.raises(LinkDropped, match="closed"):
            client.receive_nowait()
        assert client.is_readable()
        del server

    play(backend, scene)


def test_new_connections_meet_what_was_asked_for(backend: Backend) -> None:
    async def main() -> None:
        network = Network(seed=3)
        with pytest.raises(DialError, match="refused"):
            await network.connect_tcp(HOST, PORT)
        (acceptor,) = await network.listen_tcp(HOST, PORT)
        network.refuse()
        with pytest.raises(DialError, match="refused"):
            await network.connect_tcp(HOST, PORT)
        network.reset_new()
        with pytest.raises(LinkDropped):
            await receive(await network.connect_tcp(HOST, PORT))
        network.silence_new()
        silent = await network.connect_tcp(HOST, PORT)
        with anyio.move_on_after(100) as scope:
            await receive(silent)
        assert scope.cancelled_caught
        network.drop_new(after=2)
        client = await network.connect_tcp(HOST, PORT)
        server, peer = await acceptor.accept()
        assert peer == "client 3"
        await send(server, b"hello")
        assert await receive(client) == b"hello"
        began = current_time()
        assert await receive(client) == b""
        assert current_time() == began + 2
        network.heal()
        network.drop_some(0.5)
        outcomes = set()
        for _ in range(20):
            stream = await network.connect_tcp(HOST, PORT)
            outcomes.add(stream.is_readable())
        assert outcomes == {True, False}
        acceptor.close()
        with pytest.raises(LinkDropped, match="accepting"):
            await acceptor.accept()

    run(main, backend=backend)


def test_an_address_is_listened_on_once_and_a_port_can_be_chosen(backend: Backend) -> None:
    async def main() -> None:
        network = Network()
        (one,) = await network.listen_tcp(HOST, 0)
        (two,) = await network.listen_tcp(HOST, 0)
        assert one.port != two.port
        with pytest.raises(OSError, match="in use"):
            await network.listen_tcp(HOST, one.port)
        one.close()
        one.close()
        await network.listen_tcp(HOST, one.port)

    run(main, backend=backend)


async def echo(link: statews.Link) -> None:
    async for message in link:
        await link.send(message)


def test_connections_and_listeners_meet_in_it_and_leave_nothing(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:1")  # the system's, not the network's

    async def main() -> Network:
        with Network() as network:
            async with (
                statews.listen(echo, HOST, PORT),
                statews.connect(f"ws://{HOST}/") as connection,
            ):
                network.freeze()
                await connection.wait_for(State.BACKING_OFF)
                network.thaw()
                await connection.send("hello")
                assert await connection.receive() == "hello"
        return network

    network = run(main, backend=backend)
    assert network.links == 0
    assert any("text of 5 bytes 'hello'" in line for line in network.trace.lines)
    assert any("frozen, both" in line for line in network.trace.lines)


def test_a_reset_is_held_up_like_anything_else(backend: Backend) -> None:
    async def scene(network: Network, client: MemoryStream, server: MemoryStream) -> None:
        network.freeze()
        server.abort()
        assert client.send_nowait(b"half-open") == 9
        assert not client.is_readable()
        network.slow(latency=5)
        network.thaw()
        with pytest.raises(LinkDropped, match="broken pipe"):
            client.send_nowait(b"x")

    play(backend, scene)


@pytest.mark.parametrize("act", [MemoryStream.close, MemoryStream.abort])
@pytest.mark.parametrize("latency", [0.0, 7.0])
def test_a_writer_that_waits_is_woken_by_a_reset(
    backend: Backend, act: Callable[[MemoryStream], None], latency: float
) -> None:
    async def scene(network: Network, client: MemoryStream, server: MemoryStream) -> None:
        client.send_nowait(bytes(10))
        network.slow(latency=latency)
        began = current_time()

        async def leave() -> None:
            await anyio.sleep(1)
            act(server)

        async with anyio.create_task_group() as group:
            group.start_soon(leave)
            await client.wait_writable()
        assert current_time() - began == pytest.approx(1 + latency)
        with pytest.raises(LinkDropped, match="broken pipe"):
            client.send_nowait(b"x")

    play(backend, scene, capacity=10)


def test_a_cut_behind_frozen_bytes_waits_with_them(backend: Backend) -> None:
    async def scene(network: Network, client: MemoryStream, server: MemoryStream) -> None:
        network.freeze()
        client.send_nowait(b"held")
        network.cut_after(0, Way.UP)
        client.send_nowait(b"z")
        assert not server.is_readable()
        network.thaw()
        assert await receive(server) == b"held"
        with pytest.raises(LinkDropped):
            await receive(server)

    play(backend, scene)


@pytest.mark.parametrize(
    ("listened", "dialled"),
    [
        ("localhost", "127.0.0.1"),
        ("127.0.0.1", "LocalHost"),
        ("0.0.0.0", "a.example"),  # noqa: S104 - in memory
        ("::", "::1"),
    ],
)
def test_a_host_has_many_names(backend: Backend, listened: str, dialled: str) -> None:
    async def main() -> None:
        network = Network()
        await network.listen_tcp(listened, PORT)
        (await network.connect_tcp(dialled, PORT)).abort()
        assert network.accepted == 1
        with pytest.raises(DialError, match="refused"):
            await network.connect_tcp(dialled, PORT + 1)
        assert network.accepted == 1

    run(main, backend=backend)


@pytest.mark.parametrize(
    ("width", "expected"), [(10_000.0, 11.9), (50.0, 390.0), (math.inf, 10.0)]
)
def test_what_is_on_a_narrow_line_goes_on_at_the_speed_that_it_is_given(
    backend: Backend, width: float, expected: float
) -> None:
    async def scene(network: Network, client: MemoryStream, server: MemoryStream) -> None:
        network.slow(bandwidth=100)
        began, received = current_time(), 0
        await send(client, b"x" * 20_000)
        client.send_eof()
        async with anyio.create_task_group() as group:
            group.start_soon(widen, network)
            while data := await receive(server):
                received += len(data)
        assert received == 20_000
        assert current_time() - began == pytest.approx(expected, abs=0.3)

    async def widen(network: Network) -> None:
        await anyio.sleep(10)  # a thousand bytes have arrived
        network.slow(bandwidth=width)

    play(backend, scene)
