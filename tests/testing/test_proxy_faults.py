"""One suite for the faults of the proxy, before plain sockets, and of the network of memory."""

from __future__ import annotations

import anyio
import pytest

from statews import UsageError
from statews.protocol.frames import Encoder
from statews.testing import FaultProxy, Faults
from statews.testing.faults import RETRANSMISSION, Cut, Ending, Line, Way
from statews.testing.passage import Passage

from .worlds import SHORT, WHILE, Peer, Play, World

REQUEST = b"GET /chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n"
RESPONSE = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"


def along(way: Way, client: Peer, server: Peer) -> tuple[Peer, Peer]:
    """Who sends and who receives on a way."""
    return (client, server) if way is Way.UP else (server, client)


def against(way: Way) -> Way:
    return Way.DOWN if way is Way.UP else Way.UP


# Slow.


def test_latency_counts_on_its_way_alone(play: Play, way: Way) -> None:
    @play
    async def scene(world: World) -> None:
        async with world.link() as (client, server):
            sender, receiver = along(way, client, server)
            world.faults.slow(latency=1.0, way=way)
            assert await world.exchange(sender, receiver) >= 1.0 - SHORT
            assert await world.exchange(receiver, sender) < 1.0 - SHORT


def test_jitter_delays_each_piece_otherwise_and_keeps_the_order(play: Play) -> None:
    @play
    async def scene(world: World) -> None:
        async with world.link() as (client, server):
            world.faults.slow(latency=0.1, jitter=0.2)
            delays = [await world.exchange(client, server) for _ in range(8)]
            assert min(delays) >= 0.1 - SHORT
            assert max(delays) - min(delays) >= SHORT
            numbers = [bytes([number]) for number in range(20)]
            for number in numbers:
                await client.send(number)
                await anyio.sleep(0.01)
            assert await server.receive_exactly(20) == b"".join(numbers)


def test_what_is_lost_comes_late_but_comes(play: Play) -> None:
    @play
    async def scene(world: World) -> None:
        async with world.link() as (client, server):
            world.faults.slow(loss=1.0)
            assert await world.exchange(client, server) >= RETRANSMISSION - SHORT
            world.faults.slow(loss=0.5)
            delays = [await world.exchange(client, server) for _ in range(12)]
            late = [delay for delay in delays if delay >= RETRANSMISSION - SHORT]
            assert 0 < len(late) < 12


def test_bandwidth_counts_on_its_way_alone(play: Play, way: Way) -> None:
    @play
    async def scene(world: World) -> None:
        async with world.link() as (client, server):
            sender, receiver = along(way, client, server)
            world.faults.slow(bandwidth=20_000.0, way=way)
            assert await world.exchange(sender, receiver, bytes(20_000)) >= 1.0 - SHORT
            assert await world.exchange(receiver, sender, bytes(20_000)) < 1.0 - SHORT


def test_a_line_without_any_bandwidth_is_wrong_use() -> None:
    with pytest.raises(UsageError, match="expected bandwidth to be at least 1, got 0"):
        Faults().slow(bandwidth=0)


# Frozen.


def test_frozen_on_one_way_the_other_one_passes(play: Play, way: Way) -> None:
    @play
    async def scene(world: World) -> None:
        async with world.link() as (client, server):
            sender, receiver = along(way, client, server)
            world.faults.freeze(way)
            assert not world.faults.is_frozen
            await sender.send(b"held")
            await receiver.check_silent()
            await world.exchange(receiver, sender)
            world.faults.freeze(against(way))
            assert world.faults.is_frozen
            world.faults.thaw(against(way))
            await world.exchange(receiver, sender)
            world.faults.thaw(way)
            assert await receiver.receive_exactly(4) == b"held"


def test_frozen_on_one_way_its_end_is_held(play: Play, way: Way) -> None:
    @play
    async def scene(world: World) -> None:
        async with world.link() as (client, server):
            sender, receiver = along(way, client, server)
            world.faults.freeze(way)
            await sender.send_eof()
            await receiver.check_silent()
            await world.exchange(receiver, sender)
            world.faults.thaw()
            assert await receiver.receive() == b""
            await world.exchange(receiver, sender)  # half closed, and no worse


def test_frozen_a_new_link_says_nothing_until_it_thaws(play: Play, way: Way) -> None:
    @play
    async def scene(world: World) -> None:
        world.faults.freeze(way)
        async with anyio.create_task_group() as group:

            async def dial() -> None:
                client = await world.dial()
                await client.send(b"hello")

            group.start_soon(dial)
            with anyio.move_on_after(WHILE) as scope:
                await world.accept()
            assert scope.cancelled_caught
            world.faults.thaw()
            assert await (await world.accept()).receive_exactly(5) == b"hello"


# Ended.


def test_cut_both_peers_see_an_orderly_end(play: Play) -> None:
    @play
    async def scene(world: World) -> None:
        async with world.link() as (client, server):
            assert (world.faults.links, world.faults.cut()) == (1, 1)
            for peer in (client, server):
                assert await peer.receive_all() == (b"", "FIN")
        await anyio.sleep(WHILE)
        assert (world.faults.links, world.faults.cut()) == (0, 0)


def test_reset_both_peers_see_a_reset(play: Play) -> None:
    @play
    async def scene(world: World) -> None:
        async with world.link() as (client, server), world.link() as (other, _):
            assert world.faults.reset() == 2
            for peer in (client, server, other):
                assert await peer.receive_all() == (b"", "RST")


@pytest.mark.parametrize("size", [0, 1, 1000, 1_000_000])
def test_cut_after_so_many_bytes_exactly_those_arrive(
    play: Play, way: Way, how: Ending, size: int
) -> None:
    @play
    async def scene(world: World) -> None:
        async with world.link() as (client, server):
            sender, receiver = along(way, client, server)
            world.faults.cut_after(size, way, how)
            await world.exchange(receiver, sender, bytes(3000))  # the other way does not count
            async with anyio.create_task_group() as group:
                group.start_soon(sender.send_forever, b"x" * (size + 500))
                await anyio.sleep(WHILE)  # a reader that is late misses nothing
                assert await receiver.receive_all() == (b"x" * size, how.name)
                assert await sender.receive_all() == (b"", how.name)


def test_cut_after_so_many_bytes_new_links_are_as_well(play: Play, way: Way) -> None:
    @play
    async def scene(world: World) -> None:
        world.faults.cut_after(7, way)
        for _ in range(2):
            client = await world.dial()
            server = await world.accept()
            sender, receiver = along(way, client, server)
            await sender.send(b"1234")
            assert await receiver.receive_exactly(4) == b"1234"
            await sender.send(b"567890")
            assert await receiver.receive_all() == (b"567", "RST")


def handshake(way: Way, *payloads: bytes) -> tuple[bytes, list[bytes]]:
    """The opening handshake of a way, and frames."""
    encoder = Encoder(entropy=bytes.fromhex("01020304").__mul__ if way is Way.UP else None)
    head = REQUEST if way is Way.UP else RESPONSE
    return head, [b"".join(encoder.message(payload)) for payload in payloads]


@pytest.mark.parametrize("is_dribbled", [False, True])
def test_cut_in_a_frame_it_ends_in_its_middle(
    play: Play, way: Way, how: Ending, is_dribbled: bool
) -> None:
    @play
    async def scene(world: World) -> None:
        head, frames = handshake(way, b"one", bytes(300), b"three", b"four")
        world.faults.cut_in_frame(3, way, how)
        client = await world.dial()
        server = await world.accept()
        sender, receiver = along(way, client, server)
        passing = head + frames[0] + frames[1] + frames[2][: len(frames[2]) // 2]
        async with anyio.create_task_group() as group:
            group.start_soon(send_pieces, sender, head + b"".join(frames), is_dribbled)
            assert await receiver.receive_all() == (passing, how.name)


async def send_pieces(peer: Peer, data: bytes, is_dribbled: bool) -> None:
    size = 1 if is_dribbled else len(data)
    for at in range(0, len(data), size):
        await peer.send_forever(data[at : at + size])


@pytest.mark.parametrize("frame", [0, 1])
def test_frames_count_from_when_it_was_asked(play: Play, way: Way, frame: int) -> None:
    @play
    async def scene(world: World) -> None:
        head, frames = handshake(way, b"before", b"one", b"two")
        client = await world.dial()
        server = await world.accept()
        sender, receiver = along(way, client, server)
        await world.exchange(sender, receiver, head + frames[0])
        world.faults.cut_in_frame(1 + frame, way)
        await sender.send_forever(frames[1] + frames[2])
        passing = b"".join(frames[1 : 1 + frame])
        passing += frames[1 + frame][: len(frames[1 + frame]) // 2]
        assert await receiver.receive_all() == (passing, "RST")


def test_cut_in_a_frame_what_is_no_websocket_passes(play: Play, way: Way) -> None:
    @play
    async def scene(world: World) -> None:
        world.faults.cut_in_frame(1)
        async with world.link() as (client, server):
            sender, receiver = along(way, client, server)
            _, frames = handshake(way, bytes(300))
            for data in (b"\r\n\r\n" + frames[0], bytes(1000), frames[0]):
                await world.exchange(sender, receiver, data)


def test_a_frame_whose_middle_has_gone_by_ends_there_and_then() -> None:
    passage = Passage(Line(cut=Cut(in_frame=1)))
    _, (frame,) = handshake(Way.UP, b"x")  # the middle of these 7 bytes is in their header
    passage.measure(REQUEST)
    assert passage.measure(frame[:5])[:2] == (frame[:5], None)
    assert passage.measure(frame[5:] + bytes(100))[:2] == (b"", Ending.RST)


def test_a_cut_that_was_taken_back_cuts_nothing(play: Play, way: Way) -> None:
    @play
    async def scene(world: World) -> None:
        async with world.link() as (client, server):
            sender, receiver = along(way, client, server)
            world.faults.cut_after(100, way)
            await world.exchange(sender, receiver, bytes(99))
            world.faults.cut_at(None, way)
            await world.exchange(sender, receiver, bytes(1000))


# Left.


@pytest.mark.anyio
async def test_a_proxy_that_is_cancelled_gives_its_port_back() -> None:
    proxy = FaultProxy(port=1)
    ports: list[int] = []
    with anyio.move_on_after(SHORT):
        async with proxy:
            ports.append(proxy.port)
            await anyio.sleep(60)
    with pytest.raises(UsageError, match="left already"):
        assert proxy.port
    async with FaultProxy(port=1, listen_port=ports[0]) as again:
        assert again.port == ports[0]
