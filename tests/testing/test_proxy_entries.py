"""What becomes of new connections, before plain sockets and in the network of memory alike."""

from __future__ import annotations

import random

import anyio
import pytest
from anyio import current_time

from statews.testing.faults import Ending, Entry

from .worlds import PARAMS, SHORT, WHILE, Param, Play, Refused, Reset, World, playing


def test_refused_new_links_do_not_come_and_old_ones_go_on(play: Play) -> None:
    @play
    async def scene(world: World) -> None:
        async with world.link() as (client, server):
            world.faults.refuse()
            with pytest.raises(Refused):
                await world.dial()
            await world.exchange(client, server)
            world.faults.accept()
            async with world.link():
                assert world.faults.links == 2


def test_new_links_can_be_reset(play: Play) -> None:
    @play
    async def scene(world: World) -> None:
        async with world.link() as (client, server):
            world.faults.reset_new()
            assert await ending(world) == "RST"
            await world.exchange(client, server)


async def ending(world: World) -> str:
    """How a new link ends, to which the server says nothing."""
    try:
        late = await world.dial()
    except (Refused, Reset):
        return "RST"  # so early that connecting failed
    with anyio.move_on_after(WHILE):
        return (await late.receive_all())[1]
    await late.close()
    return "none"


def test_new_links_can_hear_nothing(play: Play) -> None:
    @play
    async def scene(world: World) -> None:
        async with world.link() as (client, server):
            world.faults.silence_new()
            late = await world.dial()
            await late.send(bytes(1000))
            await late.check_silent()
            with anyio.move_on_after(WHILE) as scope:
                await world.accept()
            assert scope.cancelled_caught
            await world.exchange(client, server)
            world.faults.accept()
            await late.check_silent()  # it came before
            assert world.faults.links == 2
            await late.close()
            await anyio.sleep(WHILE)
            assert world.faults.links == 1


def test_a_silent_link_can_be_ended(play: Play, how: Ending) -> None:
    @play
    async def scene(world: World) -> None:
        world.faults.silence_new()
        late = await world.dial()
        await late.send(bytes(1000))
        await anyio.sleep(WHILE)
        assert (world.faults.cut if how is Ending.FIN else world.faults.reset)() == 1
        assert await late.receive_all() == (b"", how.name)


def test_new_links_can_end_soon_after_the_servers_first_bytes(play: Play) -> None:
    @play
    async def scene(world: World) -> None:
        world.faults.drop_new(after=WHILE)
        client = await world.dial()
        server = await world.accept()
        await world.exchange(client, server)
        await anyio.sleep(2 * WHILE)
        await world.exchange(client, server)  # the client's bytes do not count
        await server.send(b"first")
        began = current_time()
        assert await client.receive_all() == (b"first", "FIN")
        assert await server.receive_all() == (b"", "FIN")
        assert current_time() - began >= WHILE - SHORT


@pytest.mark.parametrize("param", PARAMS)
@pytest.mark.parametrize("seed", [1, 2])
def test_the_seed_decides_which_new_links_are_reset(param: Param, seed: int) -> None:
    @playing(param, seed=seed)
    async def scene(world: World) -> None:
        chance = random.Random(seed)  # noqa: S311 - no secret
        world.faults.drop_some(0.4)
        endings = [await ending(world) for _ in range(8)]
        assert endings == ["RST" if chance.random() < 0.4 else "none" for _ in range(8)]


def test_dropping_some_is_no_entry(play: Play) -> None:
    @play
    async def scene(world: World) -> None:
        world.faults.drop_some(1.0)
        assert await ending(world) == "RST"
        world.faults.drop_some(0.0)
        assert world.faults.entry is Entry.ACCEPT
        assert await ending(world) == "none"


# Healed.


def test_healed_everything_passes_again(play: Play) -> None:
    @play
    async def scene(world: World) -> None:
        faults = world.faults
        async with world.link() as (client, server):
            faults.slow(latency=30, jitter=30, loss=1.0, bandwidth=1.0)
            faults.freeze()
            faults.cut_after(100)
            faults.drop_some(1.0)
            for enter in (faults.refuse, faults.reset_new, faults.silence_new, faults.drop_new):
                enter()
                faults.heal()
                async with world.link():
                    await anyio.sleep(WHILE)
            assert await world.exchange(client, server, bytes(1000)) < 30
            assert await world.exchange(server, client, bytes(1000)) < 30
            assert faults.links == 1
