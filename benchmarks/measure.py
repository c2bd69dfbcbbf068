"""Measures one case once, in the process that it is started in, and prints one number.

``python -m benchmarks.measure SCENARIO LIBRARY BACKEND PORT BUDGET``, where BUDGET is how many
seconds of CPU to spend.
"""

from __future__ import annotations

import gc
import importlib
import os
import resource
import sys
import time
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Final, cast

import anyio

from benchmarks.clients import Connector, Link
from benchmarks.pacing import unpace_all
from benchmarks.scenarios import IDLE_CONNECTIONS, SCENARIOS, Message, Scenario

_SETTLED_S: Final = 0.2
"""Long enough for the tasks that a fresh connection starts to reach where they will wait."""


class Meter:
    """The CPU time of this process, user and system, since it was made."""

    def __init__(self, budget_s: float) -> None:
        self._since = time.process_time()
        self._until = self._since + budget_s

    def has_budget(self) -> bool:
        """Whether there is something left to spend."""
        return time.process_time() < self._until

    def us_per(self, count: int) -> float:
        """Microseconds for each of `count` messages."""
        return (time.process_time() - self._since) / count * 1e6


async def receive(link: Link, scenario: Scenario, budget_s: float) -> float:
    """The cost of a message that the server pours in."""
    await _check(link, scenario.message)
    await link.receive_many(scenario.batch)
    meter, count = Meter(budget_s), 0
    while meter.has_budget():
        count += await link.receive_many(scenario.batch)
    return meter.us_per(count)


async def send(link: Link, scenario: Scenario, budget_s: float) -> float:
    """The cost of a message that is sent, until the server has seen all of them."""
    message, batch = scenario.message, scenario.batch
    await link.send_many(message, batch)
    await _check(link, scenario.of_kind("ok"))
    meter, count = Meter(budget_s), 0
    while meter.has_budget():
        await link.send_many(message, batch)
        await link.receive()
        count += batch
    return meter.us_per(count)


async def echo(links: list[Link], scenario: Scenario, budget_s: float) -> float:
    """The cost of a round trip, all connections in one process at once."""
    message, batch = scenario.message, scenario.batch
    for link in links:
        await link.send_many(message, 1)
        await _check(link, message)

    meter, count = Meter(budget_s), 0

    async def keep_echoing(link: Link) -> None:
        nonlocal count
        while meter.has_budget():
            await link.echo_many(message, batch)
            count += batch

    async with anyio.create_task_group() as group:
        for link in links:
            group.start_soon(keep_echoing, link)
    return meter.us_per(count)


async def _check(link: Link, expected: Message) -> None:
    message = await link.receive()
    if getattr(message, "data", message) != expected:
        raise AssertionError(f"received {message!r:.100}")


async def _resident_bytes() -> int:
    await anyio.sleep(_SETTLED_S)
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


async def run(scenario: Scenario, connector: Connector, base_url: str, budget_s: float) -> None:
    """Measure, print, and be gone: a closing handshake against a flood is not measured."""
    async with AsyncExitStack() as stack:
        connect = partial(
            connector.connect, stack, base_url + scenario.path, message=scenario.message
        )
        links = await connect(count=scenario.connections)
        unpace_all()
        match scenario.activity:
            case "receive":
                number = await receive(links[0], scenario, budget_s)
            case "send":
                number = await send(links[0], scenario, budget_s)
            case "echo":
                number = await echo(links, scenario, budget_s)
            case "idle":
                # The first ones have brought what is made once: caches, tables, first arenas.
                before = await _resident_bytes()
                links += await connect(count=IDLE_CONNECTIONS)
                number = (await _resident_bytes() - before) / IDLE_CONNECTIONS / 1024
        print(number, flush=True)
        os._exit(0)


def main(name: str, library: str, backend: str, port: str, budget_s: str) -> None:
    """Measure the case that the command line names."""
    scenario = next(each for each in SCENARIOS if each.name == name)
    module = importlib.import_module(f"benchmarks.clients.{library.replace('-', '_')}")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    anyio.run(
        run,
        scenario,
        cast("Connector", module),
        f"ws://127.0.0.1:{port}",
        float(budget_s),
        backend="trio" if backend == "trio" else "asyncio",
        backend_options={"use_uvloop": True} if backend == "uvloop" else {},
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
