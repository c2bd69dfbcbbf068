"""A server restarts, and all its clients come back at once: how long it takes, and what it costs.

    python -m benchmarks.storm --clients 1000 --per-second 100 --backend trio

A server process with sessions on a SQLite file is killed and started again. The clients are real
ones, in a process of their own, with the backoff that they have by default. Printed are the time
from the server's return to the last client's, as a multiple of what the rate allows at best, and
the share of attempts that were refused.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import anyio

import statews

PATIENCE: Final = 120.0  # seconds for everything to end
SLACK: Final = 1.3
MOST_REFUSED: Final = 0.2


async def _handle(session: statews.Session) -> None:
    async for message in session:
        await session.send(message)


def _admission(per_second: float) -> statews.Admission:
    rate = statews.Rate(per_second=per_second, burst=max(1, int(per_second / 10)))
    flood = statews.Rate(per_second=10_000, burst=10_000)
    return statews.Admission(handshakes=flood, new=flood, returning=rate, per_address=None)


async def serve(path: str, port: int, per_second: float) -> None:
    """The server: tells its port, then what it has seen, until its input ends."""
    store = statews.SQLiteStore(path)
    async with statews.serve(
        _handle, port=port, store=store, admission=_admission(per_second)
    ) as server:
        print(server.port, flush=True)
        while await anyio.to_thread.run_sync(sys.stdin.readline):
            statistics = server.statistics()
            print(json.dumps([statistics.sessions, statistics.refused]), flush=True)


class Server:
    """The server's process."""

    def __init__(self, path: str, port: int, per_second: float, backend: str) -> None:
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "benchmarks.storm", "--serve", path, "--port", str(port)),
                *("--per-second", str(per_second), "--backend", backend),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = int(self._read())

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def seen(self) -> tuple[int, int]:
        """How many sessions it has, and how many attempts it has refused."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        sessions, refused = json.loads(self._read())
        return sessions, refused

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()


class Returns:
    """When clients were back, each for the first time, after the server's return."""

    def __init__(self, clients: int) -> None:
        self.times: list[float] = []
        self.all_back = anyio.Event()
        self._clients = clients

    async def watch(self, connection: statews.Connection) -> None:
        """Note the return of one client."""
        async for change in connection.changes():
            if change.event == "opened":
                self.times.append(time.monotonic())
                if len(self.times) >= self._clients:
                    self.all_back.set()
                return


async def storm(clients: int, per_second: float, backend: str) -> bool:
    """Play it once; whether it stayed within the bounds."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "sessions.sqlite")
        server = Server(path, 0, 10_000, backend)
        url = f"ws://127.0.0.1:{server.port}/"
        connections = [_connect(url) for _ in range(clients)]
        returns, stop = Returns(clients), anyio.Event()
        async with anyio.create_task_group() as group:
            for connection in connections:
                group.start_soon(_hold, connection, stop)
            for connection in connections:
                await connection.wait_for(statews.State.OPEN)
                group.start_soon(returns.watch, connection)
            before = {connection.session for connection in connections}
            server.kill()
            server = Server(path, server.port, per_second, backend)
            began = time.monotonic()
            with anyio.fail_after(PATIENCE):
                await returns.all_back.wait()
            took = max(returns.times) - began
            sessions, refused = await anyio.to_thread.run_sync(server.seen)
            is_kept = {connection.session for connection in connections} == before
            stop.set()
        server.kill()
    ideal, share = clients / per_second, refused / (clients + refused)
    print(f"{backend}: {clients} clients at {per_second:g} a second: {took:.1f} s,", end=" ")
    print(f"{took / ideal:.2f} x the ideal; {share:.0%} of the attempts were refused;", end=" ")
    print(f"{'all' if is_kept else 'not all'} kept their sessions ({sessions})", flush=True)
    return took <= SLACK * ideal and share < MOST_REFUSED and is_kept


def _connect(url: str) -> statews.Connection:
    policy = statews.Policy(backoff=statews.Backoff(max_attempts=None))
    resume = statews.Resume(on_missing=statews.OnMissing.FAIL)
    return statews.connect(url, policy=policy, session=resume, wait=False)


async def _hold(connection: statews.Connection, stop: anyio.Event) -> None:
    async with connection:
        await stop.wait()


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.storm", description=__doc__)
    add = parser.add_argument
    add("--clients", type=int, default=1000)
    add("--per-second", type=float, default=100.0)
    add("--backend", choices=["asyncio", "trio"], default="asyncio")
    add("--serve", metavar="PATH", help=argparse.SUPPRESS)
    add("--port", type=int, default=0, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if chosen.serve is not None:
        anyio.run(serve, chosen.serve, chosen.port, chosen.per_second, backend=chosen.backend)
        return
    is_fine = anyio.run(
        storm, chosen.clients, chosen.per_second, chosen.backend, backend=chosen.backend
    )
    sys.exit(0 if is_fine else 1)


if __name__ == "__main__":
    main()
