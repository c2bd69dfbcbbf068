"""What a session takes that nobody uses: with its link, and without, in bytes of the server.

    python -m benchmarks.idle                     5,000 sessions, asyncio and trio
    python -m benchmarks.idle --sessions 10000

The clients are plain sockets in another process, which say hello and nothing more. What is
measured is the memory of the server's process, for each session beyond the first 1,000.
"""

from __future__ import annotations

import argparse
import base64
import gc
import json
import resource
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import anyio

import statews

SESSIONS: Final = 5_000
BEFORE: Final = 1_000  # sessions that are there before anything is measured
BATCH: Final = 200  # of those that leave, no more are there at a time
KIB: Final = 1024
MOST_LINKED: Final = 12.0  # KiB
MOST_AWAY: Final = 1.0
SETTLED: Final = 1.0  # seconds in which a server sees to those that have left
HELLO: Final = b'H{"v":1,"n":1,"rx":0,"rc":0,"tx":[1,0],"win":[1024,1048576]}'
REQUEST: Final = (
    "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: statews.v1\r\n\r\n"
)


def memory() -> int:
    """Bytes that this process holds."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def handle(session: statews.Session) -> None:
    """What most handlers do most of the time."""
    async for message in session:
        await session.send(message)


async def serve(hibernate_after: float) -> None:
    """Print the port, and what is held each time that a line comes in."""
    fast = statews.Rate(per_second=1e6, burst=10**6)
    admission = statews.Admission(
        handshakes=fast,
        new=fast,
        returning=fast,
        per_address=None,
        connections=10**6,
        unheard=10**6,
    )
    quiet = statews.Policy(heartbeat=statews.Heartbeat(interval=600.0, timeout=60.0))
    limits = statews.SessionLimits(hibernate_after=hibernate_after)
    async with statews.serve(handle, policy=quiet, admission=admission, limits=limits) as server:
        print(server.port, flush=True)
        while await anyio.to_thread.run_sync(sys.stdin.readline):
            await anyio.sleep(SETTLED)
            counted = server.statistics()
            print(json.dumps([memory(), counted.sessions, counted.links]), flush=True)


def visit(port: int) -> None:
    """Open as many sessions as each line says; without a number, leave them all."""
    links: list[socket.socket] = []
    for line in sys.stdin:
        for _ in range(int(line or 0)):
            link = socket.create_connection(("127.0.0.1", port))
            link.sendall(REQUEST.encode())
            link.recv(4096)
            link.sendall(bytes((0x81, 0x80 | len(HELLO), 0, 0, 0, 0)) + HELLO)
            link.recv(4096)
            links.append(link)
        if not int(line):
            for link in links:
                link.close()
            links.clear()
        print("done", flush=True)


def ask(process: subprocess.Popen[str], line: str) -> str:
    """Write a line to a process, and return the one that it answers with."""
    pipe_in, pipe_out = process.stdin, process.stdout
    assert pipe_in is not None
    assert pipe_out is not None
    pipe_in.write(f"{line}\n")
    pipe_in.flush()
    return pipe_out.readline()


def start(*arguments: str) -> subprocess.Popen[str]:
    """Start this program in another part."""
    command = [sys.executable, "-m", "benchmarks.idle", *arguments]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )


def measure(backend: str, count: int, *, are_away: bool) -> float:
    """KiB for each session."""
    hibernating = "0.1" if are_away else "inf"
    with start("--serve", hibernating, "--backend", backend) as server:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        with start("--visit", port) as clients:
            sizes: list[int] = []
            for sessions in (BEFORE, count):
                # Those that leave do so by and by, for no memory of many links to stay behind.
                batch = BATCH if are_away else sessions
                for _ in range(sessions // batch):
                    ask(clients, str(batch))
                    if are_away:
                        ask(clients, "0")
                held, _, links = json.loads(ask(server, ""))
                assert bool(links) != are_away
                sizes.append(held)
            clients.kill()
        server.kill()
    return (sizes[1] - sizes[0]) / count / KIB


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.idle", description=__doc__)
    add = parser.add_argument
    add("--sessions", type=int, default=SESSIONS)
    add("--backend", choices=["asyncio", "trio"], action="append")
    add("--serve", type=float, help=argparse.SUPPRESS)
    add("--visit", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    backends = chosen.backend or ["asyncio", "trio"]
    if chosen.serve is not None:
        anyio.run(serve, chosen.serve, backend=backends[0])
    elif chosen.visit is not None:
        visit(chosen.visit)
    else:
        for backend in backends:
            for are_away, most in ((False, MOST_LINKED), (True, MOST_AWAY)):
                took = measure(backend, chosen.sessions, are_away=are_away)
                what = "away, and hibernating" if are_away else "with its link"
                print(
                    f"{backend:7} a session {what}: {took:.2f} KiB (at most {most:g})", flush=True
                )


if __name__ == "__main__":
    main()
