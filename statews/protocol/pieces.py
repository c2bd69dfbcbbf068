"""Payloads that come in bit by bit, kept in few objects however small the bits."""

from __future__ import annotations

import codecs
from typing import Final

__all__ = ["Fragments", "LongFrame"]

PIECE: Final = 4096  # bytes; shorter pieces that follow each other are joined at once


class Pieces:
    """Bytes that are joined when all are there. None are allocated before they came."""

    __slots__ = ("_pieces", "size")

    def __init__(self) -> None:
        self._pieces: list[bytes | memoryview] = [b""]
        self.size: int = 0

    def add(self, piece: bytes | memoryview) -> None:
        """Add to the end."""
        pieces = self._pieces
        self.size += len(piece)
        if len(piece) < PIECE and len(pieces[-1]) < PIECE:
            pieces[-1] = b"".join((pieces[-1], piece))
        else:
            pieces.append(piece)

    def join(self) -> bytes:
        """All of them."""
        return b"".join(self._pieces)


class Fragments(Pieces):
    """A message whose last fragment is still to come.

    Attributes:
        first: the first byte of its first frame.
        text: decodes what came so far, to find what is not UTF-8 before the message ends.
    """

    __slots__ = ("first", "text")

    def __init__(self, first: int) -> None:
        super().__init__()
        self.first: int = first
        self.text: codecs.IncrementalDecoder = codecs.getincrementaldecoder("utf-8")()


class LongFrame(Pieces):
    """A frame whose header is known and whose payload is still coming in.

    Attributes:
        first: the first byte of its header.
        mask: the mask, if its sender masks.
        missing: how many bytes are still to come.
    """

    __slots__ = ("first", "mask", "missing")

    def __init__(self, first: int, mask: bytes, missing: int) -> None:
        super().__init__()
        self.first: int = first
        self.mask: bytes = mask
        self.missing: int = missing
