"""Policies for three kinds of application. `dataclasses.replace` makes a variant of any."""

from __future__ import annotations

from .policy import (
    Acknowledged,
    AtLimit,
    Backoff,
    Deflate,
    Delivery,
    Heartbeat,
    Outbox,
    Policy,
)

__all__ = ["chat", "collaboration", "live"]


def chat(acknowledged: Acknowledged | None = None) -> Policy:
    """For chat: it never gives up, and a message is sent until it is known to be received.

    To fetch what was not read, give `connect` a `sync=After(...)` or `sync=Since(...)` as well.

    Args:
        acknowledged: the server's own acknowledgements; None: a pong confirms. Read receipts may
            serve, but then the outbox holds what a reader who is away has not read.
    """
    return Policy(
        backoff=Backoff(max_attempts=None),
        outbox=Outbox(delivery=Delivery.AT_LEAST_ONCE, acknowledged=acknowledged),
    )


def live() -> Policy:
    """For live data: back within two seconds, compressed, and of what waits only the newest.

    Give `send` a `key` for what is out of date by a newer one, and `connect` a
    `sync=Latest(...)` to converge to the newest values.
    """
    return Policy(
        backoff=Backoff(first=0.25, maximum=2.0, max_attempts=None),
        heartbeat=Heartbeat(interval=10.0, timeout=5.0),
        outbox=Outbox(at_limit=AtLimit.CONFLATE, messages=1000),
        deflate=Deflate(),
    )


def collaboration(acknowledged: Acknowledged | None = None) -> Policy:
    """For collaborative editing: operations keep their order, and none is lost.

    Every operation that is not acknowledged goes out again after a reconnect, before new ones.
    A full outbox holds up the editor rather than drop an operation. The merge is yours: apply
    what comes in, by CRDT or operational transformation, and give `connect` a `sync=After(...)`
    for the operations of others.

    Args:
        acknowledged: the server's own acknowledgements; None: a pong confirms.
    """
    return Policy(
        backoff=Backoff(first=0.5, maximum=10.0, max_attempts=None),
        outbox=Outbox(delivery=Delivery.AT_LEAST_ONCE, acknowledged=acknowledged),
    )
