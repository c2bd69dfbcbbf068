"""The processes of the demo, which go on where a killed one was."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Queue

import anyio
import pytest

from statews.cli.demo.client import Client
from statews.cli.demo.heard import read_heard
from statews.cli.demo.logbook import Logbook
from statews.cli.demo.names import SECOND, SERVER, log_of, store_of
from statews.cli.demo.pace import QUICK
from statews.cli.demo.server import Server

pytestmark = pytest.mark.anyio

DEADLINE = 30
SLOW = replace(QUICK, every=10 * DEADLINE)  # with one message after the other


@dataclass
class World:
    """A folder, and what is written down there."""

    folder: Path
    port: int = 0

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/"

    def told(self, name: str, what: str) -> list[tuple[object, ...]]:
        """What all records of this kind are about."""
        path = log_of(name, self.folder)
        return [each.about for each in Logbook(path).records if each.what == what]

    async def wait(self, name: str, what: str, count: int = 1) -> None:
        while len(self.told(name, what)) < count:  # noqa: ASYNC110 - it is in a file
            await anyio.sleep(0.01)

    def heard(self, client: str) -> list[object]:
        rows = read_heard(store_of(SERVER, self.folder))
        return [message for _, each, message in rows if each == client]

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[Queue[str]]:
        """A server that ends in an orderly way."""
        orders: Queue[str] = Queue()
        count = len(self.told(SERVER, "ready"))
        async with anyio.create_task_group() as group:
            group.start_soon(Server(self.folder, QUICK).run, self.port, orders.get)
            await self.wait(SERVER, "ready", count + 1)
            self.port = int(str(self.told(SERVER, "ready")[-1][2]))
            yield orders
            orders.put("")

    @asynccontextmanager
    async def talking(self) -> AsyncGenerator[Queue[str]]:
        """A client that ends in an orderly way."""
        orders: Queue[str] = Queue()
        async with anyio.create_task_group() as group:
            group.start_soon(Client(self.folder, QUICK).run, self.url, orders.get)
            yield orders
            orders.put("")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def settle(world: World, server: Queue[str], client: Queue[str]) -> None:
    """Return when both have said all, and have heard it."""
    for orders in (server, client):
        orders.put("quiet")
    await world.wait(SERVER, "quiet")
    await world.wait(SECOND, "quiet")
    await world.wait(SECOND, "got", len(world.told(SERVER, "said")))
    await world.wait(SERVER, "heard", len(world.told(SECOND, "sent")))


def numbers(about: list[tuple[object, ...]]) -> list[object]:
    return [each[-1] for each in about]


async def test_both_write_down_what_they_say_and_hear(world: World) -> None:
    with anyio.fail_after(DEADLINE):
        async with world.serving() as server:
            async with world.talking() as client:
                await world.wait(SERVER, "heard", 3)
                await world.wait(SECOND, "got", 3)
                await settle(world, server, client)
            await world.wait(SERVER, "ended")
    assert world.told(SERVER, "ended") == [(SECOND,)]
    assert len(world.told(SECOND, "opened")) == 1
    sent, said = numbers(world.told(SECOND, "sent")), numbers(world.told(SERVER, "said"))
    assert sent == [*range(1, len(sent) + 1)] == world.heard(SECOND)
    assert said == [*range(1, len(said) + 1)] == numbers(world.told(SECOND, "got"))


async def test_what_was_being_handled_is_looked_up(world: World) -> None:
    with anyio.fail_after(DEADLINE):
        async with world.serving() as server:
            orders: Queue[str] = Queue()
            async with anyio.create_task_group() as group:
                group.start_soon(Client(world.folder, SLOW).run, world.url, orders.get)
                await world.wait(SECOND, "got")
                group.cancel_scope.cancel()  # while it is busy with that one
            orders.put("")
            async with world.talking() as client:
                await world.wait(SECOND, "got", 3)
                await settle(world, server, client)
    got = numbers(world.told(SECOND, "got"))
    assert numbers(world.told(SECOND, "again")) == [1]
    assert got == [*range(1, len(got) + 1)] == numbers(world.told(SERVER, "said"))
    assert len({*world.told(SECOND, "opened")}) == 1


async def test_what_was_written_down_and_not_said_is_said(world: World) -> None:
    Logbook(log_of(SERVER, world.folder)).write("said", SECOND, 1)
    Logbook(log_of(SECOND, world.folder)).write("sent", 1)
    with anyio.fail_after(DEADLINE):
        async with world.serving() as server, world.talking() as client:
            await world.wait(SERVER, "heard", 2)
            await world.wait(SECOND, "got", 2)
            await settle(world, server, client)
    assert world.told(SERVER, "said")[:2] == [(SECOND, 1), (SECOND, 2)]
    assert world.told(SECOND, "sent")[:2] == [(1,), (2,)]
    assert world.told(SECOND, "got")[:2] == [(1,), (2,)]
    assert world.heard(SECOND)[:2] == [1, 2]


async def test_the_next_server_goes_on_and_tells_what_its_file_says(world: World) -> None:
    with anyio.fail_after(DEADLINE):
        async with world.serving(), world.talking() as client:
            await world.wait(SERVER, "heard", 2)
            client.put("quiet")
            await world.wait(SECOND, "quiet")
        heard, said = world.heard(SECOND), world.told(SERVER, "said")
        path = log_of(SERVER, world.folder)
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(line for line in lines if '"heard"' not in line))
        async with world.serving():
            await world.wait(SERVER, "heard", len(heard))
    assert numbers(world.told(SERVER, "heard")) == heard
    assert world.told(SERVER, "said") == said  # it ended, and nobody is there
