"""Sessions that outlive their links: both sides of `statews.v1`, without I/O.

`Peer` is what either side is: a `Log` of what it sent and a `Cursor` over what it received.
`Ticket` is what a client has to resume a session with, `Credentials` and `judge` what a server
lets it do so by. All take time and random tokens as arguments.
"""

from .cursor import Cursor
from .greeting import (
    LONGEST_HELLO,
    Hello,
    Position,
    Result,
    Welcome,
    read_hello,
    read_welcome,
    write_hello,
    write_welcome,
)
from .identity import Credentials, Judgement, Ticket, digest, judge, misfit, refusal
from .log import Log
from .peer import Peer, Sink
from .window import Window

__all__ = [
    "LONGEST_HELLO",
    "Credentials",
    "Cursor",
    "Hello",
    "Judgement",
    "Log",
    "Peer",
    "Position",
    "Result",
    "Sink",
    "Ticket",
    "Welcome",
    "Window",
    "digest",
    "judge",
    "misfit",
    "read_hello",
    "read_welcome",
    "refusal",
    "write_hello",
    "write_welcome",
]
