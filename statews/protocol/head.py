"""HTTP heads without I/O: one is read off a stream, the bytes behind it are kept.

The parsers are those of `websockets`. What this module adds: a bound on the head, interim
responses passed over, and errors that say what the peer did - without quoting it, since
what is wrong with a head may be next to a credential.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from typing import Generic, TypeVar

from websockets.exceptions import SecurityError
from websockets.http11 import Request, Response
from websockets.streams import StreamReader

from ..errors import HandshakeError

__all__ = ["HeadReader", "HeadTooLongError", "lower_headers", "read_request", "read_response"]

Head = TypeVar("Head", Request, Response)


class HeadTooLongError(HandshakeError):
    """The peer sent more than we take in before an opening handshake is complete."""


class HeadReader(Generic[Head]):
    """Reads one HTTP head, and nothing behind it.

    Args:
        parse: the parser, as a generator that reads from the given reader.
        limit: the longest head taken in, in bytes.
    """

    def __init__(
        self, parse: Callable[[StreamReader], Generator[None, None, Head]], limit: int
    ) -> None:
        self._reader = StreamReader()
        self._parser: Generator[None, None, Head] = parse(self._reader)
        self._taken = 0
        self._limit = limit

    def feed(self, chunk: bytes) -> Head | None:
        """Take in the next bytes, nothing at the end of the stream.

        Returns:
            The head, None while it is incomplete.

        Raises:
            HeadTooLongError: it is beyond bounds.
            HandshakeError: it is no HTTP, or the stream ended in the middle.
        """
        if chunk:
            self._reader.feed_data(chunk)
            self._taken += len(chunk)
        else:
            self._reader.feed_eof()
        head = self._parse()
        if self._taken - (0 if head is None else len(self._reader.buffer)) > self._limit:
            raise HeadTooLongError(f"the peer sent an HTTP head of over {self._limit} bytes")
        return head

    def _parse(self) -> Head | None:
        try:
            next(self._parser)
        except StopIteration as stop:
            head: Head = stop.value
            return head
        except SecurityError as error:
            raise HeadTooLongError(f"the peer sent an HTTP head beyond bounds: {error}") from error
        except EOFError:
            message = (
                "the peer closed the TCP connection in the middle of the opening handshake"
                if self._reader.eof
                else "the peer sent something that is no HTTP: a line without CRLF"
            )
            raise HandshakeError(message) from None
        except (ValueError, LookupError, NotImplementedError) as error:
            what = re.split("[:;]", str(error))[0]  # behind these it quotes
            message = f"the peer sent something that is no HTTP: {what}"
            raise HandshakeError(message) from None
        return None

    @property
    def rest(self) -> bytes:
        """The bytes behind the head, once it is complete."""
        return bytes(self._reader.buffer)


def read_request(limit: int) -> HeadReader[Request]:
    """A reader for the head of a request."""
    return HeadReader(lambda reader: Request.parse(reader.read_line), limit)


def read_response(limit: int) -> HeadReader[Response]:
    """A reader for the head of a response; a body is left where it is."""
    return HeadReader(_parse_response, limit)


def _parse_response(reader: StreamReader) -> Generator[None, None, Response]:
    """The first response that is not an interim one (RFC 9110 section 15.2)."""
    while True:
        response = yield from Response.parse(
            reader.read_line,
            reader.read_exact,
            reader.read_to_eof,
            proxy=True,  # leaves the body alone
        )
        if response.status_code == 101 or response.status_code >= 200:
            return response


def lower_headers(message: Request | Response) -> dict[str, str]:
    """Header names in lower case; repeated ones joined by commas (RFC 9110 section 5.3)."""
    headers: dict[str, str] = {}
    for name, value in message.headers.raw_items():
        known = headers.get(name.lower())
        headers[name.lower()] = value if known is None else f"{known}, {value}"
    return headers
