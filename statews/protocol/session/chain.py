"""The running check value of what one side of a session has sent.

Both sides compute it. Where they differ at the same number, one of them went back in time: a
store was restored from a backup, or an outbox was. It guards against accidents, not attackers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from zlib import crc32

from ..codes import Opcode
from ..plain import Message

__all__ = ["advance", "start"]

FACTOR: Final = 1000003
MASK: Final = 2**32 - 1
TEXT: Final = crc32(bytes((Opcode.TEXT,)))
BINARY: Final = crc32(bytes((Opcode.BINARY,)))


def start(sid: str) -> int:
    """The value before the first message of a session."""
    return crc32(sid.encode())


def advance(chain: int, messages: Iterable[Message]) -> int:
    """The value after some more messages, each of which adds `crc32(opcode || payload)`."""
    for message in messages:
        if isinstance(message, str):
            chain = (chain * FACTOR + crc32(message.encode(), TEXT)) & MASK
        else:
            chain = (chain * FACTOR + crc32(message, BINARY)) & MASK
    return chain
