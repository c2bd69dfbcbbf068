"""A state of the model: both peers, the frames between them, and what an observer knows.

All of it is made of named tuples, for the search keeps hundreds of thousands of states and hashes
each. A tuple's class takes no part in its equality, so every frame says its kind.

A chain is modelled as what it stands for, the contents of all messages so far: it never collides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

__all__ = [
    "Ack",
    "Calling",
    "Chain",
    "Client",
    "ClientRecord",
    "Dropped",
    "Facts",
    "Greeting",
    "Hello",
    "Message",
    "Open",
    "Reliable",
    "Reset",
    "Serving",
    "SessionRecord",
    "Spent",
    "State",
    "ToClient",
    "ToServer",
    "Welcome",
    "after",
    "chain_at",
    "first_kept",
]

Chain = tuple[int, ...]


class Message(NamedTuple):
    """One reliable message as it stands in an outbox or a log.

    Its content is the number that its application gave it, from 1. It is not the same as `seq`
    once a record went back in time.
    """

    seq: int
    content: int
    chain: Chain  # with this message; without it chain[:-1]


class Hello(NamedTuple):
    """`H`: the client's token, attempt and positions."""

    token: int
    attempt: int
    handled: int
    handled_chain: Chain
    assigned: int
    kind: Literal["H"] = "H"


class Welcome(NamedTuple):
    """`W` for a session that goes on; there is a gap where `first` is beyond what was handled."""

    token: int
    handled: int
    handled_chain: Chain
    first: int  # retained in the log
    kind: Literal["W"] = "W"


class Reset(NamedTuple):
    """`W` for a session that does not go on."""

    kind: Literal["W reset"] = "W reset"


class Reliable(NamedTuple):
    """`M`."""

    message: Message
    kind: Literal["M"] = "M"


class Ack(NamedTuple):
    """`A`: all up to `upto` was handled."""

    upto: int
    kind: Literal["A"] = "A"


class Dropped(NamedTuple):
    """`S`: the sender dropped everything up to `upto`."""

    upto: int
    chain: Chain
    kind: Literal["S"] = "S"


ToServer = Hello | Ack | Reliable
ToClient = Welcome | Reset | Ack | Dropped | Reliable


class ClientRecord(NamedTuple):
    """What the client keeps on disk."""

    token: int = 0
    attempt: int = 0
    handled: int = 0
    handled_chain: Chain = ()
    outbox: tuple[Message, ...] = ()
    assigned: int = 0
    assigned_chain: Chain = ()


class Calling(NamedTuple):
    """The client's end of a link that waits for the welcome."""

    number: int
    inbox: tuple[ToClient, ...] = ()


class Open(NamedTuple):
    """The client's end of a link that is welcome."""

    number: int
    inbox: tuple[ToClient, ...]
    sent: int  # of the outbox, on this link or before it
    acked: int  # -1 before the first ack of this link


class Client(NamedTuple):
    """The client."""

    record: ClientRecord = ClientRecord()
    link: Calling | Open | None = None
    unsaved_token: int | None = None  # under Mutation.LATE_PERSIST alone
    told_lost: int = 0  # the server said that everything up to here may be missing
    is_reset: bool = False


class SessionRecord(NamedTuple):
    """What the server's store keeps of the session, with its log."""

    fence: int = 1
    token: int = 0
    next_token: int | None = None  # valid beside `token` until the first frame of the new link
    attempt: int = 0
    data_set: int = 0
    handled: int = 0
    handled_chain: Chain = ()
    log: tuple[Message, ...] = ()
    assigned: int = 0
    assigned_chain: Chain = ()
    acked: int = 0
    trimmed: int = 0  # the log begins after this one
    trimmed_chain: Chain = ()


class Greeting(NamedTuple):
    """The server's end of a link that waits for the hello."""

    number: int
    inbox: tuple[ToServer, ...]


class Serving(NamedTuple):
    """The server's end of a link that owns the session, or did before a newer one."""

    number: int
    inbox: tuple[ToServer, ...]
    fence: int
    handled: int
    sent: int  # of the log, on this link or before it
    sent_chain: Chain
    handling: Message | None = None  # is with the application, and not yet committed


class Facts(NamedTuple):
    """What has happened, and neither peer can look up."""

    client_produced: int = 0
    server_produced: int = 0
    handled_by_server: tuple[int, ...] = ()  # contents, in the order they were handled
    handled_by_client: tuple[int, ...] = ()
    may_repeat: bool = False  # a handler was cut off between its effect and its commit
    issued: int = 0  # tokens
    retired: tuple[int, ...] = ()  # tokens


class Spent(NamedTuple):
    """How much of the bounds is used up."""

    links: int = 0
    drops: int = 0
    server_crashes: int = 0
    client_crashes: int = 0
    store_regressions: int = 0  # also the id of the data set that the store has now
    outbox_restores: int = 0


class State(NamedTuple):
    """All there is; without arguments the session was just opened and has no link."""

    client: Client = Client()
    session: SessionRecord = SessionRecord()
    ends: tuple[Greeting | Serving, ...] = ()  # the server's, by number
    facts: Facts = Facts()
    spent: Spent = Spent()
    backup: ClientRecord | None = None
    snapshot: SessionRecord | None = None


def after(messages: Sequence[Message], seq: int) -> tuple[Message, ...]:
    """Those of `messages` that come after `seq`."""
    return tuple(message for message in messages if message.seq > seq)


def first_kept(messages: Sequence[Message], assigned: int) -> int:
    """The first number that an outbox or a log still holds, or will be the first to hold."""
    return messages[0].seq if messages else assigned + 1


def chain_at(session: SessionRecord, seq: int) -> Chain | None:
    """The chain of the server's log at `seq`, or None where the log does not reach."""
    if seq == session.trimmed:
        return session.trimmed_chain
    return next((message.chain for message in session.log if message.seq == seq), None)
