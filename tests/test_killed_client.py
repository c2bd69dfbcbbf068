"""A client process that is killed at any point loses nothing that `send` has returned for."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

import anyio
import anyio.to_thread
import pytest

import statews

pytestmark = pytest.mark.anyio

KILLS = 4
APART = 1_000_000  # what one child cannot send before it is killed
DEADLINE = 60


class Server:
    """Takes numbers in, and gives out its own: ten in all, after the one that is asked for."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.asked: list[int] = []

    async def __call__(self, link: statews.Link) -> None:
        async for message in link:
            said = json.loads(message)
            if "number" in said:
                self.numbers.append(said["number"])
                continue
            self.asked.append(said["after"])
            for seq in range(said["after"] + 1, 11):
                await link.send(json.dumps({"seq": seq}))


def start(url: str, path: Path, first: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.killed_client", url, str(path), str(first)]
    root = Path(__file__).parent.parent
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root)  # noqa: S603


def read_and_kill(child: subprocess.Popen[str], lines: int) -> list[str]:
    """What it said before it was killed, the lines that came too late included."""
    assert child.stdout is not None
    said = [child.stdout.readline() for _ in range(lines)]
    child.send_signal(signal.SIGKILL)
    rest = child.stdout.read().splitlines(keepends=True)
    child.stdout.close()
    child.wait()
    return [line for line in said + rest if line.endswith("\n")]


@pytest.mark.once
async def test_what_was_sent_arrives_in_order_and_what_was_missed_is_asked_for(
    tmp_path: Path,
) -> None:
    server, random = Server(), Random(7)  # noqa: S311
    returned: list[int] = []
    got: list[int] = []
    path = tmp_path / "outbox.sqlite"
    with anyio.fail_after(DEADLINE):
        for round_number in range(KILLS):
            is_down = round_number % 2 == 1  # nobody listens: everything waits on the disk
            async with statews.listen(server, "127.0.0.1", 0) as listener:
                url = "ws://127.0.0.1:9" if is_down else f"ws://127.0.0.1:{listener.port}"
                child = start(url, path, APART * (round_number + 1))
                said = await anyio.to_thread.run_sync(
                    read_and_kill, child, random.randrange(5, 60)
                )
            returned += [int(line) for line in said if not line.startswith("got")]
            got += [int(line.split()[1]) for line in said if line.startswith("got")]
        async with statews.listen(server, "127.0.0.1", 0) as listener:
            child = start(f"ws://127.0.0.1:{listener.port}", path, -1)
            try:  # it has a deadline, and outlives no test
                await anyio.to_thread.run_sync(child.communicate, abandon_on_cancel=True)
            finally:
                child.kill()
            assert child.returncode == 0
    arrived = list(dict.fromkeys(server.numbers))
    assert set(returned) <= set(arrived)
    assert arrived == sorted(arrived)
    assert server.asked[0] == 0
    assert server.asked == sorted(server.asked)  # it never forgot what it had handled and stored
    assert list(dict.fromkeys(got))[:10] == list(range(1, 11))  # its place may not be stored yet
