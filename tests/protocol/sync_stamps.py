"""What the tests of stamped messages share: a stream of them, and a client that follows it."""

from __future__ import annotations

import json
import math

from statews.protocol.sync import Since

from .sync_streams import Client, Fields, page, page_of, read, text


def request(cursor: float | None) -> str:
    return json.dumps(cursor)


def stamp_of(fields: Fields) -> float | None:
    return fields.get("t")  # type: ignore[return-value]


def id_of(fields: Fields) -> object:
    return fields.get("id")


def name_of(fields: Fields) -> object:
    return fields["id"]


def replayed(**arguments: object) -> Client:
    """A stream whose history comes as ordinary messages."""
    return Client(Since(request, stamp=stamp_of, id=id_of, parse=read, **arguments))  # type: ignore[arg-type]


def paged(**arguments: object) -> Client:
    return replayed(page=page_of, **arguments)


def item(stamp: float, name: object = None) -> Fields:
    """By default the id is the stamp's text."""
    return {"t": stamp, "id": str(stamp) if name is None else name}


def items(*stamps: float) -> list[Fields]:
    return [item(stamp) for stamp in stamps]


def live(*stamps: float) -> list[str]:
    return [text(**fields) for fields in items(*stamps)]


def ids(client: Client) -> list[object]:
    return client.outputs(name_of)


def running(client: Client, *stamps: float) -> Client:
    """A client whose first fetch is over, and which has released these stamps."""
    client.begin()
    if client.strategy.deadline < math.inf:
        client.take(page())
        client.wait(10)
    client.take(*live(*stamps or (100,)))
    client.out.clear()
    client.asked.clear()
    return client


def back(client: Client) -> Client:
    client.end()
    client.begin()
    return client
