"""Two editors of one text: they write at the same time, and one of them is away for a while.

    python examples/editor.py [--backend trio]

`statews.collaboration` keeps the operations in order, and sends each again, on every new link,
until the server has acknowledged it. `After` brings those of others that were missed. What makes
one text of them all is a `Merge`, and that is yours: here it is a CRDT, Yjs, by way of pycrdt
(`pip install pycrdt`). Operational transformation would go in the same place.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from base64 import b64decode, b64encode
from typing import Any, Protocol

import anyio
from pycrdt import Doc, Text

import statews
from statews import Acknowledged, After, Link, Receipt, State
from statews.testing import FaultProxy, Way


class Merge(Protocol):
    """One copy of the text. All copies that have taken in the same operations are equal."""

    def __str__(self) -> str: ...

    def insert(self, index: int, text: str) -> bytes: ...  # an operation, for the others

    def apply(self, operation: bytes) -> None: ...  # what another copy's `insert` returned


class Yjs:
    """A `Merge` by a CRDT."""

    def __init__(self) -> None:
        self.doc = Doc[Text]()
        self.text = self.doc.get("text", type=Text)

    def __str__(self) -> str:
        return str(self.text)

    def insert(self, index: int, text: str) -> bytes:
        before = self.doc.get_state()
        self.text.insert(index, text)
        return self.doc.get_update(before)

    def apply(self, operation: bytes) -> None:
        self.doc.apply_update(operation)


class Server:
    """Keeps all operations in one order, and the text that they make."""

    def __init__(self, merge: Merge) -> None:
        self.merge = merge
        self.links: set[Link] = set()
        self.log: list[dict[str, Any]] = []
        self.taken: dict[str, list[int]] = {}  # the numbers of each editor's operations
        self.came_twice = 0

    async def __call__(self, link: Link) -> None:
        self.links.add(link)
        try:
            async for message in link:
                await self.answer(link, json.loads(message))
        finally:
            self.links.remove(link)

    async def answer(self, link: Link, asked: dict[str, Any]) -> None:
        if "after" in asked:
            for missed in self.log[asked["after"] :]:
                await tell(missed, link)
            return
        taken = self.taken.setdefault(asked["editor"], [])
        if asked["number"] in taken:
            self.came_twice += 1  # our "done" did not reach the editor
        else:
            taken.append(asked["number"])
            self.merge.apply(b64decode(asked["operation"]))
            self.log.append({"seq": len(self.log) + 1, "operation": asked["operation"]})
            await tell(self.log[-1], *self.links)
        await tell({"done": asked["number"]}, link)


async def tell(news: dict[str, Any], *links: Link) -> None:
    for link in links:
        with contextlib.suppress(statews.StatewsError):  # it is gone, and asks when it is back
            await link.send(json.dumps(news))


POLICY = statews.collaboration(
    acknowledged=Acknowledged(
        id=lambda message: json.loads(message)["number"],
        acked=lambda message: json.loads(message).get("done"),
        is_cumulative=True,  # the server takes nothing in before what was sent before it
    )
)


class Editor:
    """One window on the text."""

    def __init__(self, name: str, merge: Merge, port: int) -> None:
        others = After(
            lambda ask: json.dumps({"after": ask.after}),
            seq=lambda operation: operation.get("seq"),
            start=0,
        )
        self.name, self.merge = name, merge
        url = f"ws://127.0.0.1:{port}/"
        self.connection = statews.connect(url, policy=POLICY, sync=others)
        self.sent: list[Receipt] = []
        self.seen = 0

    async def write(self, *texts: str) -> None:
        """Write at the end, with or without a link."""
        for text in texts:
            operation = b64encode(self.merge.insert(len(str(self.merge)), text)).decode()
            number = len(self.sent) + 1
            message = {"editor": self.name, "number": number, "operation": operation}
            self.sent.append(await self.connection.send(json.dumps(message)))

    async def catch_up(self, seq: int) -> None:
        """Take in what came, up to this operation."""
        while self.seen < seq:
            came = json.loads(await self.connection.receive())
            self.merge.apply(b64decode(came["operation"]))
            self.seen = came["seq"]


async def main() -> None:
    server = Server(Yjs())
    async with (
        statews.listen(server) as listener,
        FaultProxy(port=listener.port) as anns_line,
    ):
        ann, ben = Editor("Ann", Yjs(), anns_line.port), Editor("Ben", Yjs(), listener.port)
        async with ann.connection, ben.connection:
            await ann.write("Once ", "upon ", "a time ")
            await ben.catch_up(3)
            await ann.catch_up(3)
            await ann.connection.flush()
            print(f"Both are there:  {ben.merge}")

            anns_line.freeze(Way.DOWN)  # Ann is heard, and hears nothing
            await ann.write("there ", "was ")
            await ben.catch_up(5)
            anns_line.refuse()
            anns_line.reset()
            await ann.connection.wait_for(State.BACKING_OFF)
            await ann.write("a queen ", "and ", "a castle ")
            await ben.write("a king ", "and ", "a dragon ", "and ")
            await ben.catch_up(9)
            waiting = sum(not receipt.state.is_final for receipt in ann.sent)
            print(f"Ann, away:       {ann.merge}({waiting} operations wait)")
            print(f"Ben, meanwhile:  {ben.merge}")

            anns_line.heal()
            ann.connection.nudge()
            await ann.catch_up(12)
            await ben.catch_up(12)
            await ann.connection.flush()
            await ben.connection.flush()
        print(f"Together again:  {ann.merge}({server.came_twice} operations came twice)")

    assert str(ann.merge) == str(ben.merge) == str(server.merge)
    words = "Once upon a time there was a queen and a castle a king and a dragon and"
    assert sorted(str(ann.merge).split()) == sorted(words.split())
    assert [receipt.attempts for receipt in ann.sent] == [1, 1, 1, 2, 2, 1, 1, 1]
    assert server.came_twice == 2
    assert server.taken == {"Ann": list(range(1, 9)), "Ben": list(range(1, 5))}  # in order
    print("Nothing was lost: 12 operations, and three copies that are the same.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Two editors of one text.")
    parser.add_argument("--backend", choices=["asyncio", "trio"], default="asyncio")
    anyio.run(main, backend=parser.parse_args().backend)
