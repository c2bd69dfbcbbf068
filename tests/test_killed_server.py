"""Processes with stores that are killed lose nothing, on either side of a session.

`STATEWS_KILLS=50` in the environment has each test kill so many processes of each side.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import anyio
import pytest
from anyio.abc import Process

import statews
from statews import Connection, Gap, Reset, Resume

from .killed_session import HOST, PAUSE, policy

pytestmark = pytest.mark.anyio

KILLS = int(os.environ.get("STATEWS_KILLS", "3"))
DEADLINE = 60 + 15 * KILLS  # seconds
ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Got:
    """A message that somebody was given."""

    seq: int
    number: int
    is_again: bool


@dataclass
class Life:
    """One process, from its first line to its last."""

    process: Process
    lines: list[str] = field(default_factory=list)
    rest: str = ""

    async def read(self) -> bool:
        """What it has to say; whether there may be more."""
        assert self.process.stdout is not None
        try:
            data = await self.process.stdout.receive()
        except anyio.EndOfStream:
            return False
        *lines, self.rest = (self.rest + data.decode()).split("\n")
        self.lines += lines
        return True

    async def read_lines(self, count: int) -> None:
        """Return when it has said so much."""
        while len(self.lines) < count:
            if not await self.read():
                code = await self.process.wait()
                pytest.fail(f"the process has ended with {code}: {self.lines[-3:]}")

    async def kill(self) -> None:
        """End it, and read the lines that came too late."""
        self.process.kill()
        while await self.read():
            pass
        await self.process.aclose()

    @property
    def sent(self) -> list[int]:
        """The numbers for which sending has returned."""
        return [int(line.split()[1]) for line in self.lines if line.startswith("sent")]

    @property
    def got(self) -> list[Got]:
        """The messages that came."""
        words = [line.split() for line in self.lines if line.startswith("got")]
        return [Got(int(word[1]), int(word[2]), word[-1] == "again") for word in words]


class Lives:
    """The processes of one side, one after the other."""

    def __init__(self, role: str, port: int, path: Path) -> None:
        self._command = [sys.executable, "-m", "tests.killed_session", role, str(port), str(path)]
        self.lives: list[Life] = []

    async def begin(self) -> Life:
        """One more."""
        first = 1_000_000 * (len(self.lives) + 1)
        process = await anyio.open_process(
            [*self._command, str(first)], stderr=None, cwd=ROOT, stdin=None
        )
        self.lives.append(Life(process))
        return self.lives[-1]

    @property
    def sent(self) -> set[int]:
        return {number for life in self.lives for number in life.sent}

    @property
    def got(self) -> list[int]:
        return [got.number for life in self.lives for got in life.got]

    def check(self) -> None:
        """In order; again came only what a killed process was busy with, and said so."""
        said = [line for life in self.lives for line in life.lines]
        assert not [line for line in said if line.startswith(("gap", "reset"))]
        last = 0
        for life in self.lives:
            for place, got in enumerate(life.got):
                assert got.number > last or (got.number == last and got.is_again and not place)
                assert not (place and got.is_again)
                last = got.number

    def check_numbers(self) -> None:
        """A message that comes again has the number that it had."""
        seqs = {got.seq: got.number for life in self.lives for got in life.got}
        for life in self.lives:
            assert all(seqs[got.seq] == got.number for got in life.got)
        assert sorted(seqs) == list(range(1, len(seqs) + 1))


def free_port() -> int:
    with socket.socket() as one:
        one.bind((HOST, 0))
        port: int = one.getsockname()[1]
        return port


class Client:
    """A client in this process, which lives on."""

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.got: list[int] = []
        self.losses: list[Gap | Reset] = []
        self.is_done = False
        self.has_sent = anyio.Event()  # all that it will

    async def send(self, connection: Connection) -> None:
        while not self.is_done:
            number = len(self.sent) + 1
            await connection.send(str(number))
            self.sent.append(number)
            await anyio.sleep(PAUSE)
        self.has_sent.set()

    async def receive(self, connection: Connection) -> None:
        async for event in connection.events():
            if isinstance(event, str):
                self.got.append(int(event))
            elif isinstance(event, (Gap, Reset)):
                self.losses.append(event)


def draws(seed: int) -> Iterator[int]:
    """How many lines are read before each kill."""
    random = Random(seed)  # noqa: S311
    while True:
        yield random.choice([1, 2, 5, random.randrange(5, 60), random.randrange(60, 200)])


async def outlive(servers: Lives, port: int, seed: int) -> Client:
    """A client that lives through many servers, until all has come that was sent, either way."""
    client, lines = Client(), draws(seed)
    async with (
        statews.connect(
            f"ws://{HOST}:{port}", session=Resume(), policy=policy(), proxy=None, wait=False
        ) as connection,
        anyio.create_task_group() as group,
    ):
        group.start_soon(client.receive, connection)
        group.start_soon(client.send, connection)
        for _ in range(KILLS):
            life = await servers.begin()
            await life.read_lines(next(lines))
            await life.kill()
        life = await servers.begin()
        await life.read_lines(next(lines))
        client.is_done, sent = True, servers.sent  # it sends on, and what it sends is in the store
        with anyio.fail_after(DEADLINE / 2):
            await client.has_sent.wait()
            await connection.flush()
            while not sent <= set(client.got):  # noqa: ASYNC110 - two tasks know
                await anyio.sleep(0.01)
        await life.kill()
        group.cancel_scope.cancel()
    return client


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """That of the client that lives on; uvloop would find nothing else."""
    backend: str = request.param
    return backend


@pytest.mark.once
async def test_a_server_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    port = free_port()
    servers = Lives("server", port, tmp_path / "server.sqlite")
    with anyio.fail_after(DEADLINE):
        client = await outlive(servers, port, seed=1)
    servers.check()
    servers.check_numbers()
    assert not client.losses
    assert set(client.sent) <= set(servers.got)
    assert client.got == sorted(set(client.got))


@pytest.mark.once
async def test_the_effect_of_each_message_is_there_exactly_once(tmp_path: Path) -> None:
    port, path = free_port(), tmp_path / "server.sqlite"
    servers = Lives("transacting", port, path)
    with anyio.fail_after(DEADLINE):
        client = await outlive(servers, port, seed=3)
    with closing(sqlite3.connect(path)) as store:
        rows = store.execute("SELECT number FROM taken ORDER BY place").fetchall()
    taken = [number for (number,) in rows]
    assert not client.losses
    assert taken == list(range(1, len(taken) + 1))
    assert set(client.sent) <= set(taken)


@pytest.mark.once
async def test_either_side_may_be_killed(tmp_path: Path) -> None:
    port, lines = free_port(), draws(4)
    servers = Lives("server", port, tmp_path / "server.sqlite")
    clients = Lives("client", port, tmp_path / "client.sqlite")
    with anyio.fail_after(DEADLINE):
        living = [await servers.begin(), await clients.begin()]
        for kill in range(2 * KILLS):
            side = kill % 2 if kill % 5 else 0
            async with anyio.create_task_group() as group:
                for life in living:
                    group.start_soon(life.read_lines, next(lines))
            await living[side].kill()
            living[side] = await (servers, clients)[side].begin()
        await settle(servers, clients, living)
        for life in living:
            await life.kill()
    servers.check()
    servers.check_numbers()
    clients.check()


async def settle(servers: Lives, clients: Lives, living: list[Life]) -> None:
    """Return when all that earlier processes have sent has come."""

    async def read(life: Life) -> None:
        while await life.read():
            pass

    async with anyio.create_task_group() as group:
        sent_up, sent_down = clients.sent, servers.sent
        for life in living:
            group.start_soon(read, life)
        with anyio.fail_after(DEADLINE / 2):
            while not (sent_up <= set(servers.got) and sent_down <= set(clients.got)):  # noqa: ASYNC110 - two processes know
                await anyio.sleep(0.05)
        group.cancel_scope.cancel()
