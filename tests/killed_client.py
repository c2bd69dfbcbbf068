"""A client that is killed: sends numbers from its standard input on, and says which it has sent.

``python -m tests.killed_client URL STORE FIRST``: each line of the output is the number of a
message for which `send` has returned, or the ``seq`` of one that was received. ``FIRST`` below
zero: only wait until nothing is left to send.
"""

from __future__ import annotations

import json
import sys
from itertools import count
from typing import Any

import anyio

import statews


def policy() -> statews.Policy:
    return statews.Policy(
        backoff=statews.Backoff(first=0.01, maximum=0.05, max_attempts=None),
        outbox=statews.Outbox(delivery=statews.Delivery.AT_LEAST_ONCE),
    )


async def main(url: str, path: str, first: int) -> None:
    """Send and receive until somebody ends this process."""
    stream: statews.After[Any] = statews.After(
        lambda ask: json.dumps({"after": ask.after}), seq=lambda parsed: parsed["seq"], start=0
    )
    store = statews.SQLiteStore(path)
    options = {"policy": policy(), "store": store, "sync": stream, "proxy": None, "wait": False}
    async with statews.connect(url, **options) as connection:  # type: ignore[arg-type]
        if first < 0:
            await connection.flush()
            return
        async with anyio.create_task_group() as group:
            group.start_soon(receive, connection)
            for number in count(first):
                await connection.send(json.dumps({"number": number}))
                print(number, flush=True)  # noqa: T201 - that is how it tells


async def receive(connection: statews.Connection) -> None:
    async for message in connection:
        print("got", json.loads(message)["seq"], flush=True)  # noqa: T201


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2], int(sys.argv[3]), backend="trio")
