"""A strategy belongs to one connection at a time, and goes on with the next."""

from __future__ import annotations

import json
import re

import pytest

import statews
from statews import After, Latest, Link, Since, State
from statews.protocol.sync import Ask, Strategy
from statews.store.memory import MemoryStore

from .world import World, accept, connect, refuse, steady

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("world")]


def ask(wanted: Ask) -> str:
    return json.dumps({"after": wanted.after})


def after(name: str = "after", fallback: Strategy | None = None) -> After[dict[str, int]]:
    return After(ask, seq=lambda m: m.get("n"), start=0, name=name, fallback=fallback)


def nested(inner: Strategy) -> Strategy:
    return Since(str, stamp=lambda _: None, fallback=after("middle", fallback=inner))


class Counter:
    """A server with a history that grows by two with each link."""

    def __init__(self) -> None:
        self.last = 0

    async def __call__(self, link: Link) -> None:
        self.last += 2
        async for message in link:
            for number in range(json.loads(message)["after"] + 1, self.last + 1):
                await link.send(json.dumps({"n": number}))


async def received(connection: statews.Connection, count: int) -> list[int]:
    return [json.loads(await connection.receive())["n"] for _ in range(count)]


@pytest.mark.parametrize("is_nested", [False, True])
async def test_a_strategy_in_use_is_refused_to_another_connection(*, is_nested: bool) -> None:
    inner = Latest(None, name="inner")
    first, second = (nested(inner), inner) if is_nested else (inner, inner)
    why = "the strategy 'inner' is in use by another connection; give each connection one of"
    others = [connect(sync=sync) for sync in (second, nested(inner), [after("free"), inner])]
    async with connect(sync=first):
        for other in others:
            with pytest.raises(statews.UsageError, match=re.escape(why)):
                await other.__aenter__()
            assert other.state is State.IDLE
    for other in others:
        async with other:
            assert other.state is State.OPEN


async def test_a_strategy_goes_on_where_it_was_with_the_next_connection(world: World) -> None:
    strategy = after()
    world.scripts = [accept(Counter())]
    async with connect(sync=strategy) as connection:
        assert await received(connection, 2) == [1, 2]
    async with connect(sync=strategy) as connection:
        assert await received(connection, 2) == [3, 4]


async def test_a_strategy_is_free_after_a_connection_that_failed(world: World) -> None:
    strategy = after()
    world.scripts = [refuse]
    policy = statews.Policy(backoff=statews.Backoff(max_attempts=0))
    for _ in range(2):
        with pytest.raises(statews.ConnectionFailed, match="connection refused"):
            await connect(sync=strategy, policy=policy).__aenter__()


async def test_a_strategy_is_free_after_a_store_that_does_not_fit_it(world: World) -> None:
    strategy = after()
    store = MemoryStore()
    outbox = statews.Outbox(delivery=statews.Delivery.AT_LEAST_ONCE)
    await store.open()
    store.save_position("after", "5")
    await store.close()
    with pytest.raises(statews.UsageError, match="a position of 'after' must be an object"):
        await connect(sync=strategy, store=store, policy=steady(outbox=outbox)).__aenter__()
    world.scripts = [accept(Counter())]
    async with connect(sync=strategy) as connection:
        assert await received(connection, 2) == [1, 2]


async def test_a_strategy_has_one_place_in_a_connection() -> None:
    inner = Latest(None, name="inner")
    for sync in ([inner, nested(inner)], [nested(inner), after("other", fallback=inner)]):
        with pytest.raises(statews.UsageError, match="cannot be in two places"):
            connect(sync=sync)
