"""Live prices: only the newest value matters, in both directions, whatever the link does.

    python examples/prices.py [--backend trio]

`Latest` asks for the present prices on each new link, and of a price that nobody has looked at yet
it keeps the newest only. `send` with a `key` does the same for what goes out. `statews.live` comes
back within two seconds, and compresses.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from random import Random
from typing import Any

import anyio

import statews
from statews import Latest, Link, Receipt, ReceiptState, State
from statews.testing import FaultProxy, Way

POLICY = statews.live()
COMPANIES = {"ACME": "Acme Corporation", "INIT": "Initech", "HOOL": "Hooli", "UMBR": "Umbrella"}


class Exchange:
    """The server: prices that change, and the list of those that its one client watches."""

    def __init__(self) -> None:
        self.random = Random(7)  # noqa: S311 - these prices are not that secret
        self.prices = {symbol: self.price(symbol, version=1) for symbol in COMPANIES}
        self.lists: list[list[str]] = [[]]  # the last one counts, and outlives the link
        self.links: set[Link] = set()
        self.told_bytes = 0

    async def __call__(self, link: Link) -> None:
        self.links.add(link)
        try:
            async for message in link:
                asked = json.loads(message)
                if "watch" in asked:
                    self.lists.append(asked["watch"])
                await self.tell(*self.lists[-1])
        finally:
            self.links.remove(link)

    def price(self, symbol: str, version: int) -> dict[str, Any]:
        euros = round(self.random.uniform(90, 110), 2)
        name = COMPANIES[symbol]
        return {"symbol": symbol, "name": name, "price": euros, "version": version}

    async def trade(self, count: int) -> None:
        """Change prices so many times."""
        for symbol in self.random.choices(list(COMPANIES), k=count):
            self.prices[symbol] = self.price(symbol, self.prices[symbol]["version"] + 1)
            if symbol in self.lists[-1]:
                await self.tell(symbol)

    async def tell(self, *symbols: str) -> None:
        for message in [json.dumps(self.prices[symbol]) for symbol in symbols]:
            self.told_bytes += len(message)
            for link in tuple(self.links):
                with contextlib.suppress(statews.StatewsError):  # it is gone, and asks again
                    await link.send(message)


def connect(line: FaultProxy) -> statews.Connection:
    prices = Latest(
        '{"give": "the present prices"}',
        version=lambda price: price["version"],
        key=lambda price: price["symbol"],
    )
    return statews.connect(f"ws://127.0.0.1:{line.port}/", policy=POLICY, sync=prices)


async def watch(connection: statews.Connection, *symbols: str) -> Receipt:
    """Say which prices are wanted. It takes the place of a list that still waits for a link."""
    return await connection.send(json.dumps({"watch": symbols}), key="watch")


async def look(connection: statews.Connection, count: int) -> list[dict[str, Any]]:
    """The next so many prices, in the order of their symbols."""
    prices = [json.loads(await connection.receive()) for _ in range(count)]
    print("  ", ", ".join("{symbol} {price:.2f} (version {version})".format(**p) for p in prices))
    return sorted(prices, key=lambda price: price["symbol"])


async def main() -> None:
    exchange = Exchange()
    async with (
        statews.listen(exchange, policy=POLICY) as server,
        FaultProxy(port=server.port) as line,
        connect(line) as connection,
    ):
        now = exchange.prices
        print("The first prices:")
        await watch(connection, "ACME", "INIT")
        assert await look(connection, 2) == [now["ACME"], now["INIT"]]

        print("2000 trades, while we look away:")
        told = exchange.told_bytes
        line.cut_after(40_000, Way.DOWN)  # the link would end if more bytes came
        await exchange.trade(2000)
        told = exchange.told_bytes - told
        receipt = await watch(connection, "ACME", "INIT")
        await receipt.wait_acknowledged()  # by then, all that was told before has come
        line.cut_at(None)
        assert await look(connection, 2) == [now["ACME"], now["INIT"]]
        assert told > 70_000
        assert line.accepted == 1  # it is the first link still
        print(f"   They were {told} bytes, and compressed less than 40000.")

        print("The link is down, prices change, and we change our mind three times:")
        line.refuse()
        line.reset()
        await connection.wait_for(State.BACKING_OFF)
        lists = ["HOOL"], ["HOOL", "UMBR"], ["UMBR", "ACME"]
        receipts = [await watch(connection, *symbols) for symbols in lists]
        await exchange.trade(2000)
        line.accept()
        connection.nudge()
        await receipts[-1].wait_acknowledged()
        assert await look(connection, 3) == [now["ACME"], now["INIT"], now["UMBR"]]
        assert exchange.lists[-2:] == [["ACME", "INIT"], ["UMBR", "ACME"]]
        print(f"   Of our lists there went out: {[str(receipt.state) for receipt in receipts]}")
        dropped, acknowledged = ReceiptState.DROPPED, ReceiptState.ACKNOWLEDGED
        assert [receipt.state for receipt in receipts] == [dropped, dropped, acknowledged]
    print("Nothing old was seen, and nothing new was missed.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Live prices.")
    parser.add_argument("--backend", choices=["asyncio", "trio"], default="asyncio")
    anyio.run(main, backend=parser.parse_args().backend)
