"""What a session costs: both ends in one process, beside plain statews and `websockets`.

    python -m benchmarks.sessions                  asyncio and trio, 256 and 32 bytes
    python -m benchmarks.sessions --size 256 --backend trio

`up`: a client sends, and the server's handler takes; `down`: the other way; `echo`: one message
at a time, there and back. It is the CPU of both ends together, for each message. In plain statews
the client has its outbox and receipts, and the server, `listen`, has neither.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, Protocol

import anyio

ROUNDS: Final = 5
COUNT: Final = 20_000
KINDS: Final = ("plain", "session", "websockets")
WAYS: Final = ("up", "down", "echo")
MOST_OVER_PLAIN: Final = 1.35
TIMES_FASTER: Final = 3.0

Send = Callable[[str], Awaitable[object]]


class Peer(Protocol):
    """What a server of each library gives its handler."""

    send: Send

    def __aiter__(self) -> AsyncIterator[str]: ...


async def serve(peer: Peer, way: str, text: str) -> None:
    """The server's part."""
    taken, send = 0, peer.send
    async for message in peer:
        taken += 1
        if way == "echo":
            await send(message)
        elif way == "down":
            for _ in range(COUNT):
                await send(text)
        elif taken % COUNT == 0:
            await send("done")


async def measure(
    send: Send, receive: Callable[[], Awaitable[object]], way: str, text: str
) -> float:
    """Microseconds of CPU for each message, the median of some rounds."""
    count = COUNT // 10 if way == "echo" else COUNT
    costs: list[float] = []
    for _ in range(ROUNDS + 1):
        since = time.process_time()
        if way == "up":
            for _ in range(COUNT):
                await send(text)
            assert await receive() == "done"
        elif way == "down":
            await send("go")
            for _ in range(COUNT):
                await receive()
        else:
            for _ in range(count):
                await send(text)
                await receive()
        costs.append((time.process_time() - since) / count * 1e6)
    return statistics.median(costs[1:])


async def run_statews(way: str, text: str, *, has_session: bool) -> float:
    """Plain statews, or a session."""
    import statews

    async def handle(peer: Peer) -> None:
        await serve(peer, way, text)

    resume = statews.Resume() if has_session else None
    async with (
        statews.serve(handle) if has_session else statews.listen(handle) as server,
        statews.connect(f"ws://127.0.0.1:{server.port}/", session=resume) as connection,
    ):
        return await measure(connection.send, connection.receive, way, text)


async def run_websockets(way: str, text: str) -> float:
    """The peer: its own server and client, neither of which compresses."""
    from websockets.asyncio.client import connect
    from websockets.asyncio.server import serve as listen

    async def handle(peer: Peer) -> None:
        await serve(peer, way, text)

    async with listen(handle, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}/", compression=None) as connection:
            return await measure(connection.send, connection.recv, way, text)


async def run_one(kind: str, way: str, size: int) -> None:
    """Measure one case, print it, and be gone."""
    text = "x" * size
    if kind == "websockets":
        cost = await run_websockets(way, text)
    else:
        cost = await run_statews(way, text, has_session=kind == "session")
    print(cost, flush=True)
    os._exit(0)


def case(kind: str, way: str, size: int, backend: str) -> float:
    """The cost of one case, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.sessions", "--one", kind, way]
    command += ["--size", str(size), "--backend", backend]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return float(done.stdout)


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sessions", description=__doc__)
    add = parser.add_argument
    add("--size", type=int, action="append", help="bytes of a message")
    add("--backend", choices=["asyncio", "trio"], action="append")
    add("--one", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    sizes, backends = chosen.size or [256, 32], chosen.backend or ["asyncio", "trio"]
    if chosen.one:
        anyio.run(run_one, *chosen.one, sizes[0], backend=backends[0])
    for size in sizes:
        peer = {way: case("websockets", way, size, "asyncio") for way in WAYS}
        for backend in backends:
            for way in WAYS:
                plain, session = (case(kind, way, size, backend) for kind in KINDS[:2])
                over, faster = session / plain, peer[way] / session
                print(f"{size} bytes {way:4} {backend:7} plain {plain:6.2f} us,", end=" ")
                print(
                    f"session {session:6.2f} us: {over:.2f} x (at most {MOST_OVER_PLAIN}),",
                    end=" ",
                )
                print(f"websockets on asyncio {peer[way]:6.2f} us: {faster:.1f} x faster", end=" ")
                print(f"(at least {TIMES_FASTER:g})", flush=True)


if __name__ == "__main__":
    main()
