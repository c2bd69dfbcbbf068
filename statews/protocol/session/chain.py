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

__all__ = ["advance", "start", "take_back"]

FACTOR: Final = 1000003  # odd, so that a step can be taken back
MODULUS: Final = 2**32
MASK: Final = MODULUS - 1
INVERSE: Final = pow(FACTOR, -1, MODULUS)
TEXT: Final = crc32(bytes((Opcode.TEXT,)))
BINARY: Final = crc32(bytes((Opcode.BINARY,)))


def start(sid: str) -> int:
    """The value before the first message of a session."""
    return crc32(sid.encode())


def check(message: Message) -> int:
    """What one message adds: `crc32(opcode || payload)`."""
    if isinstance(message, str):
        return crc32(message.encode(), TEXT)
    return crc32(message, BINARY)


def advance(chain: int, messages: Iterable[Message]) -> int:
    """The value after some more messages."""
    for message in messages:
        chain = (chain * FACTOR + check(message)) & MASK
    return chain


def take_back(chain: int, message: Message) -> int:
    """The value before the message after which it is `chain`."""
    return (chain - check(message)) * INVERSE & MASK
