"""HTTP heads: read whole or refused, in whatever chunks, and never quoted."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statews.errors import HandshakeError
from statews.protocol.head import HeadTooLongError, lower_headers, read_request, read_response

from .wire import chunk_sizes, cut

REQUEST = b"GET /feed?x=1 HTTP/1.1\r\nHost: example.org\r\nX-A: 1\r\nx-a: 2\r\n\r\n"
RESPONSE = b"HTTP/1.1 503 Not Now\r\nRetry-After: 5\r\nContent-Length: 4\r\n\r\n"
LIMIT = 4096


def statuses(chunks: Iterable[bytes], *, limit: int = LIMIT) -> tuple[int | None, bytes]:
    """The status that is read, if any, and what is behind the head."""
    reader = read_response(limit)
    status, rest = None, b""
    for chunk in chunks:
        if status is None:
            head = reader.feed(chunk)
            status, rest = (None, b"") if head is None else (head.status_code, reader.rest)
        else:
            rest += chunk
    return status, rest


@given(rest=st.binary(max_size=50), sizes=chunk_sizes)
def test_what_is_behind_the_head_is_kept_in_any_chunks(rest: bytes, sizes: list[int]) -> None:
    assert statuses(cut(RESPONSE + rest, sizes)) == (503, rest)


@given(data=st.binary(max_size=200), sizes=chunk_sizes)
def test_garbage_is_refused_or_waited_for_the_same_in_any_chunks(
    data: bytes, sizes: list[int]
) -> None:
    def outcome(chunks: Iterable[bytes]) -> tuple[int | None, bytes] | str:
        try:
            return statuses(chunks)
        except HandshakeError as error:
            return str(error)

    assert outcome(cut(b"HTTP/1.1 " + data, sizes)) == outcome([b"HTTP/1.1 " + data])


def test_a_request_is_read() -> None:
    reader = read_request(LIMIT)
    assert reader.feed(REQUEST[:-1]) is None
    request = reader.feed(REQUEST[-1:] + b"rest")
    assert request is not None
    assert (request.path, reader.rest) == ("/feed?x=1", b"rest")
    assert lower_headers(request) == {"host": "example.org", "x-a": "1, 2"}


def test_interim_responses_are_passed_over() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    final = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
    for sizes in ([1], [30], [1000]):
        assert statuses(cut(interim + final + b"\x81\x00", sizes)) == (101, b"\x81\x00")


@pytest.mark.parametrize("status", [101, 200, 204, 304, 599])
def test_every_other_response_is_the_answer(status: int) -> None:
    assert statuses([f"HTTP/1.1 {status} \r\n\r\nrest".encode()]) == (status, b"rest")


def test_an_answer_in_http_1_0_is_an_answer() -> None:
    assert statuses([b"HTTP/1.0 502 Bad Gateway\r\n\r\n"]) == (502, b"")


# Bounds.


@pytest.mark.parametrize("sizes", [[1], [100], [10_000]])
def test_the_limit_is_for_the_head_alone_and_no_byte_less(sizes: list[int]) -> None:
    wire = RESPONSE + b"x" * 1000
    assert statuses(cut(wire, sizes), limit=len(RESPONSE)) == (503, b"x" * 1000)
    with pytest.raises(HeadTooLongError, match=f"head of over {len(RESPONSE) - 1} bytes"):
        statuses(cut(wire, sizes), limit=len(RESPONSE) - 1)


def test_an_unfinished_head_may_be_as_long_as_the_limit() -> None:
    reader = read_response(30)
    assert reader.feed(b"HTTP/1.1 200 OK\r\n" + b"x" * 13) is None
    with pytest.raises(HeadTooLongError, match="head of over 30 bytes"):
        reader.feed(b"x")


def endless(line: bytes) -> Iterable[bytes]:
    yield b"HTTP/1.1 200 OK\r\n"
    while True:
        yield line


@pytest.mark.parametrize("line", [b"a: b\r\n", b"x"])
def test_an_endless_head_is_given_up(line: bytes) -> None:
    with pytest.raises(HeadTooLongError, match=r"head of over 500 bytes|beyond bounds"):
        statuses(endless(line), limit=500)


def test_an_endless_run_of_interim_responses_is_given_up() -> None:
    chunks = cut(b"HTTP/1.1 100 Continue\r\n\r\n" * 100, [7])
    with pytest.raises(HeadTooLongError, match="head of over 500 bytes"):
        statuses(chunks, limit=500)


@pytest.mark.parametrize("head", [b"a: b\r\n" * 200, b"a: " + b"x" * 9000 + b"\r\n"])
def test_what_is_beyond_the_bounds_of_the_parser_is_too_long_as_well(head: bytes) -> None:
    with pytest.raises(HeadTooLongError, match="beyond bounds"):
        statuses([b"HTTP/1.1 200 OK\r\n" + head + b"\r\n"], limit=1 << 20)


# What is no HTTP.

SECRET = "hunter2"
NO_HTTP = {
    "another protocol": b"SSH-2.0-hunter2\r\n",
    "HTTP/2": b"HTTP/2 200 hunter2\r\n\r\n",
    "no status": b"HTTP/1.1 hunter2 OK\r\n\r\n",
    "a wrong status": b"HTTP/1.1 999 OK\r\n\r\n",
    "a header without a colon": b"HTTP/1.1 200 OK\r\nSet-Cookie hunter2\r\n\r\n",
    "a wrong name": b"HTTP/1.1 200 OK\r\nSet Cookie: hunter2\r\n\r\n",
    "a wrong value": b"HTTP/1.1 200 OK\r\nSet-Cookie: hunter2\x01\r\n\r\n",
    "a line without CRLF": b"HTTP/1.1 200 OK\nSet-Cookie: hunter2\n\n",
}


@pytest.mark.parametrize("name", NO_HTTP)
@pytest.mark.parametrize("size", [1, 1000])
def test_what_is_no_http_is_refused_and_not_quoted(name: str, size: int) -> None:
    with pytest.raises(HandshakeError, match="something that is no HTTP: ") as caught:
        statuses(cut(NO_HTTP[name], [size]))
    assert not isinstance(caught.value, HeadTooLongError)
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__  # the parser's exception quotes


@pytest.mark.parametrize(
    "line",
    [
        b"GET /?token=hunter2 HTTP/2.0",
        b"GET /?token=hunter2",
        b"GET / HTTP/1.1\r\nAuthorization Bearer hunter2",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nX: hunter2\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 7\r\nX: hunter2\r\n",
    ],
)
def test_a_wrong_request_is_refused_and_not_quoted(line: bytes) -> None:
    with pytest.raises(HandshakeError, match="something that is no HTTP: ") as caught:
        read_request(LIMIT).feed(line + b"\r\n\r\n")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 1", RESPONSE[:-2]])
def test_an_end_in_the_middle_is_told_from_a_wrong_head(data: bytes) -> None:
    reader = read_response(LIMIT)
    if data:
        reader.feed(data)
    with pytest.raises(HandshakeError, match="closed the TCP connection in the middle"):
        reader.feed(b"")
