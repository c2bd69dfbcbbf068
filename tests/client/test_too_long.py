"""A peer that closes a link with 1009: the message that it does not take is not sent again."""

from __future__ import annotations

import anyio
import pytest

import statews
from statews import (
    Acknowledged,
    Backoff,
    Delivery,
    DeliveryError,
    Jitter,
    Link,
    MemoryStore,
    Outbox,
    ReceiptState,
    State,
)

from .test_durable import contents
from .world import World, accept, connect

pytestmark = pytest.mark.anyio

LIMIT = 1000
LONG, SHORT = "x" * 5000, "y" * 900
REFUSED = "the peer closed the link with 1009: it takes no message of 5000 bytes"


class Narrow:
    """A handler that takes in what is at most `LIMIT` bytes long."""

    def __init__(self) -> None:
        self.got: list[str | bytes] = []
        self.links = 0

    async def __call__(self, link: Link) -> None:
        self.links += 1
        async for message in link:
            self.got.append(message)


def keeping(**changes: object) -> statews.Policy:
    backoff = Backoff(first=0.1, maximum=0.5, jitter=Jitter.NONE, max_attempts=None)
    outbox = Outbox(**{"delivery": Delivery.AT_LEAST_ONCE, **changes})  # type: ignore[arg-type]
    return statews.Policy(backoff=backoff, outbox=outbox)


@pytest.fixture
def narrow(world: World) -> Narrow:
    narrow = Narrow()
    world.scripts = [accept(narrow, message_bytes=LIMIT)]
    return narrow


@pytest.mark.parametrize("delivery", Delivery)
async def test_a_message_that_the_peer_does_not_take_lets_the_others_go_on(
    narrow: Narrow, delivery: Delivery
) -> None:
    async with connect(policy=keeping(delivery=delivery)) as connection:
        sent = [await connection.send(message) for message in (SHORT, LONG, "z")]
        with pytest.raises(DeliveryError, match=f"is dropped: {REFUSED}") as caught:
            await sent[1].wait_acknowledged()
        assert caught.value.state == sent[1].state == ReceiptState.DROPPED
        assert sent[1].reason == REFUSED
        await connection.flush()
        await connection.wait_for(State.OPEN)
        await (await connection.send("later")).wait_acknowledged()
        is_kept = delivery is Delivery.AT_LEAST_ONCE
        left = ReceiptState.ACKNOWLEDGED if is_kept else ReceiptState.IN_DOUBT
        assert [sent[0].state, sent[2].state] == [left, left]
    assert narrow.got[-1] == "later"
    assert LONG not in narrow.got
    assert ("z" in narrow.got) == is_kept
    assert narrow.links == 2


async def test_the_store_forgets_what_the_peer_does_not_take(narrow: Narrow) -> None:
    store = MemoryStore()
    async with connect(policy=keeping(), store=store) as connection:
        receipt = await connection.send(LONG)
        assert await receipt.wait_settled() is ReceiptState.DROPPED
        await connection.wait_for(State.BACKING_OFF)
    assert (await contents(store)).messages == []
    assert narrow.got == []


async def test_what_the_connection_itself_says_may_be_what_is_too_long(narrow: Narrow) -> None:
    async with connect(policy=keeping()) as connection:
        connection._sender.write(LONG)  # as a strategy does
        receipt = await connection.send(SHORT)
        await receipt.wait_acknowledged()
        assert receipt.attempts == 2
    assert narrow.got == [SHORT]


async def test_what_a_link_broke_off_with_is_sent_again_however_long(world: World) -> None:
    narrow = Narrow()
    world.scripts = [accept(narrow)]
    async with connect(policy=keeping()) as connection:
        world.wires[-1].freeze()
        receipts = [await connection.send(message) for message in ("x", LONG)]
        world.wires[-1].cut()
        await connection.flush()
        assert {receipt.state for receipt in receipts} == {ReceiptState.ACKNOWLEDGED}
    assert narrow.got == ["x", LONG]


async def test_what_a_hook_has_sent_is_blamed_on_no_message(world: World) -> None:
    async def handler(link: Link) -> None:
        async for _ in link:
            pass

    async def hook(link: Link) -> None:
        await link.send("h" * 5000)

    world.scripts = [accept(handler, message_bytes=1000)]
    async with connect(policy=keeping(), on_open=hook, wait=False) as connection:
        receipts = [await connection.send(text) for text in ("one", "two", "three")]
        await anyio.sleep(100)
        assert len(world.wires) > 3
        assert [receipt.state for receipt in receipts] == [ReceiptState.QUEUED] * 3


async def test_a_close_of_our_own_with_1009_refuses_nothing(world: World) -> None:
    async def handler(link: Link) -> None:
        async for _ in link:
            pass

    world.scripts = [accept(handler)]
    acknowledged = Acknowledged(id=lambda message: message, acked=lambda _: None)
    async with connect(policy=keeping(acknowledged=acknowledged)) as connection:
        receipt = await connection.send("precious")
        await connection.close(1009)
        assert receipt.state is not ReceiptState.DROPPED
