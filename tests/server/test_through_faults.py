"""Sessions through faults drawn at random: everything arrives both ways, in order and once."""

# ruff: noqa: S311 - the run seeds it

from __future__ import annotations

from random import random as chance
from random import randrange

import anyio
import pytest

import statews
from statews import Heartbeat, Resume, Session, SessionLimits, Window
from statews.testing import Network

from .world import connect, serve, steady

SEEDS = 10  # for each backend
MESSAGES = 200
SECONDS = 100.0

QUICK = Heartbeat(interval=2.0, timeout=1.0)


class Ends:
    """Both ends of a session, and what they have handled."""

    def __init__(self) -> None:
        self.up: list[str] = []
        self.down: list[str] = []
        self.numbers = iter(range(MESSAGES))  # of what the server still has to send

    async def handle(self, session: Session) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self.talk, session)
            try:
                await self.listen(session)
            finally:
                group.cancel_scope.cancel()

    async def talk(self, session: Session) -> None:
        for number in self.numbers:
            with anyio.CancelScope(shield=True):  # its number is taken
                await session.send(f"down {number}")
            await anyio.sleep(chance())

    async def listen(self, session: Session) -> None:
        while True:
            with anyio.move_on_after(chance()):
                message = str(await session.receive())
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(chance() / 10)
                if chance() < 0.02:
                    raise ZeroDivisionError
                self.up.append(message)

    async def say(self, connection: statews.Connection) -> None:
        for number in range(MESSAGES):
            await connection.send(f"up {number}")
            await anyio.sleep(chance())

    async def hear(self, connection: statews.Connection) -> None:
        while len(self.down) < MESSAGES:
            with anyio.move_on_after(chance()):
                self.down.append(str(await connection.receive()))
                if chance() < 0.05:
                    await anyio.sleep(3 * chance())


@pytest.mark.once
@pytest.mark.no_cover
@pytest.mark.statews(seeds=SEEDS, limit=5000)
@pytest.mark.parametrize("window", [1, 5, 1024])
async def test_everything_arrives_in_order_and_once(statews_network: Network, window: int) -> None:
    ends = Ends()
    policy = steady(heartbeat=QUICK)
    options = {"policy": policy, "limits": SessionLimits(window=Window(window))}
    async with serve(ends.handle, **options) as server, anyio.create_task_group() as group:
        async with connect(session=Resume(window=Window(window)), policy=policy) as connection:
            sid = connection.session
            group.start_soon(misbehave, statews_network)
            async with anyio.create_task_group() as talk:
                talk.start_soon(ends.say, connection)
                talk.start_soon(ends.hear, connection)
            await connection.flush()
            assert connection.session == sid
            assert len(server.sessions) == 1
        group.cancel_scope.cancel()
    assert ends.up == [f"up {number}" for number in range(MESSAGES)]
    assert ends.down == [f"down {number}" for number in range(MESSAGES)]


async def misbehave(network: Network) -> None:
    """Faults of all kinds, and then none."""
    until = anyio.current_time() + SECONDS
    while anyio.current_time() < until:
        await anyio.sleep(8 * chance())
        match randrange(8):
            case 0:
                network.cut()
            case 1 | 2:
                network.reset()
            case 3:
                network.freeze()
                await anyio.sleep(6 * chance())
                network.thaw()
            case 4:
                network.refuse()
                network.reset()
                await anyio.sleep(5 * chance())
                network.accept()
            case 5:
                network.cut_in_frame(randrange(1, 5))
                await anyio.sleep(3 * chance())
                network.cut_at(None)
            case 6:
                network.drop_new(after=chance() / 4)
                network.reset()
                await anyio.sleep(3 * chance())
                network.accept()
            case _:
                network.slow(latency=chance() / 5, jitter=chance() / 5)
    network.heal()
