"""A chat that loses nothing: a writer, a reader, and links that drop while they talk.

    python examples/chat.py [--backend trio]

`statews.chat` sends a message again, on every new link, until it is acknowledged; here that means:
until somebody has read it. `After` fetches what was said while the reader was away, page by page.
Both go on across lost links by themselves.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from typing import Any
from uuid import uuid4

import anyio

import statews
from statews import Acknowledged, After, Link, Page, Receipt, ReceiptState, State
from statews.testing import FaultProxy, Way

PAGE = 5  # messages that the server gives out at once


class Room:
    """The server: it numbers what is said, tells everybody, and knows how far it was read."""

    def __init__(self) -> None:
        self.links: set[Link] = set()
        self.said: list[dict[str, Any]] = []
        self.numbers: dict[str, int] = {}  # by the client's id
        self.read = 0  # the number of the last message that was read
        self.came_twice = 0
        self.pages = 0

    async def __call__(self, link: Link) -> None:
        self.links.add(link)
        try:
            async for message in link:
                await self.answer(link, json.loads(message))
        finally:
            self.links.remove(link)

    async def answer(self, link: Link, asked: dict[str, Any]) -> None:
        match asked:
            case {"id": name} if name in self.numbers:
                # Whoever sends until it is acknowledged may send twice. The client's id makes it
                # once for the reader.
                self.came_twice += 1
                if self.numbers[name] <= self.read:
                    await tell({"read": name}, link)
            case {"id": name, "text": text}:
                self.numbers[name] = seq = len(self.said) + 1
                self.said.append({"seq": seq, "id": name, "text": text})
                await tell(self.said[-1], *self.links)
            case {"after": after}:
                self.pages += 1
                is_more = len(self.said) > after + PAGE
                await tell({"page": self.said[after : after + PAGE], "more": is_more}, link)
            case _:
                seq = asked["read"]
                newly, self.read = self.said[self.read : seq], max(self.read, seq)
                await tell({"read": [said["id"] for said in newly]}, *self.links)


async def tell(news: dict[str, Any], *links: Link) -> None:
    for link in links:
        with contextlib.suppress(statews.StatewsError):  # it is gone, and asks when it is back
            await link.send(json.dumps(news))


def page_of(answer: dict[str, Any]) -> Page | None:
    if "page" not in answer:
        return None
    return Page(items=[json.dumps(said) for said in answer["page"]], more=answer["more"])


# A read receipt is the acknowledgement. If readers stay away for days, acknowledge instead what
# the server has stored, and let each reader's {"read": n} be a stream of its own, of `Latest`.
POLICY = statews.chat(
    acknowledged=Acknowledged(
        id=lambda message: json.loads(message).get("id"),
        acked=lambda message: json.loads(message).get("read"),
    )
)


def join(line: FaultProxy) -> statews.Connection:
    unread = After(
        lambda ask: json.dumps({"after": ask.after}),
        seq=lambda said: said.get("seq"),
        page=page_of,
        start=0,
    )
    return statews.connect(f"ws://127.0.0.1:{line.port}/", policy=POLICY, sync=unread)


async def say(ann: statews.Connection, *texts: str) -> list[Receipt]:
    # An id is not used again, not even by another process.
    return [await ann.send(json.dumps({"id": uuid4().hex, "text": text})) for text in texts]


async def hear(connection: statews.Connection, count: int) -> list[dict[str, Any]]:
    return [json.loads(await connection.receive()) for _ in range(count)]


async def read(ben: statews.Connection, count: int) -> list[str]:
    said = await hear(ben, count)
    await ben.send(json.dumps({"read": said[-1]["seq"]}))  # and so everything before it
    return [each["text"] for each in said]


async def main() -> None:
    room = Room()
    async with (
        statews.listen(room) as server,
        FaultProxy(port=server.port) as anns_line,
        FaultProxy(port=server.port) as bens_line,
        join(anns_line) as ann,
        join(bens_line) as ben,
    ):
        receipts = await say(ann, "Hello!", "Are you there?")
        texts = await read(ben, 2)
        for receipt in receipts:
            await receipt.wait_acknowledged()
        print(f"Both are there: Ben has read {len(texts)} messages, and Ann knows.")

        bens_line.refuse()
        bens_line.reset()
        await ben.wait_for(State.BACKING_OFF)
        receipts += await say(ann, *(f"Message {number}" for number in range(12)))
        await hear(ann, 14)  # her own messages, from the room: it has them
        print(f"Ben is away: the last message is {receipts[-1].state}, and not acknowledged.")
        before = room.pages
        bens_line.accept()
        ben.nudge()
        texts += await read(ben, 12)
        await ann.flush()  # all is acknowledged
        pages = room.pages - before
        print(f"Ben is back: he has read {len(texts)} messages, {pages} pages were fetched.")

        anns_line.freeze(Way.DOWN)  # Ann is heard, and hears nothing
        receipts += await say(ann, "Can you hear me?")
        texts += await read(ben, 1)
        anns_line.refuse()
        anns_line.reset()
        await ann.wait_for(State.BACKING_OFF)
        receipts += await say(ann, "I was away.")
        counts = [receipt.attempts for receipt in receipts[-2:]]
        print(f"Ann is away: two messages wait, sent {counts} times so far.")
        anns_line.heal()
        ann.nudge()
        texts += await read(ben, 1)
        await ann.flush()
        print(f"Ann is back: {room.came_twice} message came to the server twice, and counts once.")

    sent = [json.loads(receipt.message)["text"] for receipt in receipts]
    assert texts == sent == [said["text"] for said in room.said]
    assert {receipt.state for receipt in receipts} == {ReceiptState.ACKNOWLEDGED}
    assert receipts[-2].attempts == 2
    assert room.came_twice == 1
    assert pages == 3  # of 5, 5 and 2 messages
    print(f"Nothing was lost: {len(sent)} messages, each read exactly once, in order.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A chat that loses nothing.")
    parser.add_argument("--backend", choices=["asyncio", "trio"], default="asyncio")
    anyio.run(main, backend=parser.parse_args().backend)
