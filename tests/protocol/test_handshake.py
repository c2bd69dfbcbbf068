"""The opening handshake, both halves: with each other, with `websockets`, and with others."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    PerMessageDeflate,
    ServerPerMessageDeflateFactory,
)
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.uri import parse_uri
from websockets.utils import accept_key

from statews.errors import HandshakeError, UpgradeRefused, UsageError
from statews.policy import Deflate, Limits
from statews.protocol.frames import Message
from statews.protocol.handshake import (
    ClientHandshake,
    Opened,
    Refusal,
    ServerHandshake,
    Side,
    parse_url,
)

from .wire import PING, TEXT, chunk_sizes, cut, frame

URL = "ws://user:hunter2@example.org:8080/feed?token=hunter2"
SECRET = "hunter2"
BASIC = "Basic dXNlcjpodW50ZXIy"  # user:hunter2
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 section 1.2

request_headers = {
    b"Host": b"example.org",
    b"Upgrade": b"websocket",
    b"Connection": b"Upgrade",
    b"Sec-WebSocket-Key": KEY,
    b"Sec-WebSocket-Version": b"13",
}


def client(
    *,
    url: str = URL,
    headers: Mapping[str, str] | None = None,
    subprotocols: Sequence[str] = (),
    deflate: Deflate | None = None,
    limits: Limits | None = None,
) -> ClientHandshake:
    return ClientHandshake(
        parse_url(url),
        headers=headers or {},
        subprotocols=subprotocols,
        deflate=deflate,
        limits=limits or Limits(),
    )


def server(
    *,
    subprotocols: Sequence[str] = (),
    deflate: Deflate | None = None,
    limits: Limits | None = None,
) -> ServerHandshake:
    return ServerHandshake(subprotocols=subprotocols, deflate=deflate, limits=limits or Limits())


def requested(made: ClientHandshake) -> dict[str, str]:
    """The headers that go out; each occurs once."""
    lines = made.request().decode("latin-1").split("\r\n")[1:-2]
    headers = [line.split(": ", 1) for line in lines]
    assert len({name.lower() for name, _ in headers}) == len(headers)
    return {name.lower(): value for name, value in headers}


def switching(made: ClientHandshake, *lines: str) -> bytes:
    """A right 101, and more headers."""
    accept = accept_key(requested(made)["sec-websocket-key"])
    head = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept}",
        *lines,
    ]
    return "\r\n".join([*head, "", ""]).encode("latin-1")


def open_client(made: ClientHandshake, wire: bytes, sizes: Sequence[int] = (10_000,)) -> Opened:
    """What the client has agreed on; `rest` is all that came behind the head."""
    return open_with(made, cut(wire, sizes))


def open_with(made: ClientHandshake, chunks: Iterable[bytes]) -> Opened:
    for chunk in chunks:
        opened = made.feed(chunk)
        if opened is not None:
            return replace(opened, rest=opened.rest + b"".join(chunks))
    raise AssertionError("the handshake is not complete")


def take(made: ServerHandshake, wire: bytes, sizes: Sequence[int] = (10_000,)) -> Request:
    for chunk in cut(wire, sizes):
        request = made.feed(chunk)
        if request is not None:
            return request
    raise AssertionError("the request is not complete")


def exchange(first: Opened, second: Opened, *messages: Message) -> None:
    """Send messages each way."""
    for sender, receiver in ((first, second), (second, first)):
        for message in messages:
            receiver.decoder.feed(b"".join(sender.encoder.message(message)))
        assert list(receiver.decoder.inbox) == list(messages)


TALK = ("short", "long " * 100, b"\x00\xff", "long " * 100, "")
DEFLATES = [
    None,
    Deflate(threshold_bytes=0),
    Deflate(window_bits=9, context_takeover=False, threshold_bytes=0),
    Deflate(window_bits=12, level=1),
]


# Both halves.


@settings(max_examples=30)
@given(to_server=chunk_sizes, to_client=chunk_sizes)
def test_both_halves_understand_each_other_in_any_chunks(
    to_server: list[int], to_client: list[int]
) -> None:
    caller, callee = client(), server()
    request = take(callee, caller.request(), to_server)
    response, theirs = callee.accept(request)
    first = frame(TEXT, b"first")
    ours = open_client(caller, response + first, to_client)
    assert ours.rest == first
    assert (ours.side, theirs.side) == (Side.CLIENT, Side.SERVER)
    assert ours.path == theirs.path == "/feed?token=hunter2"
    exchange(ours, theirs, *TALK)


@pytest.mark.parametrize("offers", DEFLATES)
@pytest.mark.parametrize("accepts", DEFLATES)
def test_compression_is_what_both_agree_on(
    offers: Deflate | None, accepts: Deflate | None
) -> None:
    caller, callee = client(deflate=offers), server(deflate=accepts)
    response, theirs = callee.accept(take(callee, caller.request()))
    ours = open_client(caller, response)
    exchange(ours, theirs, *TALK)
    header, _ = ours.encoder.message("long " * 100)
    assert bool(header[0] & 0x40) is (offers is not None and accepts is not None)


@pytest.mark.parametrize(
    ("accepts", "agreed"),
    [
        (Deflate(), "permessage-deflate"),
        (
            Deflate(window_bits=10, context_takeover=False),
            (
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
                "server_max_window_bits=10; client_max_window_bits=10"
            ),
        ),
    ],
)
def test_a_server_asks_for_what_its_settings_say(accepts: Deflate, agreed: str) -> None:
    callee = server(deflate=accepts)
    response, _ = callee.accept(take(callee, client(deflate=Deflate()).request()))
    assert f"\r\nSec-WebSocket-Extensions: {agreed}\r\n".encode() in response


@pytest.mark.parametrize("deflate", DEFLATES[1:])
@pytest.mark.parametrize("bits", [None, 9, 15])
@pytest.mark.parametrize("fresh", [False, True])
def test_a_client_of_websockets_is_understood(
    deflate: Deflate, bits: int | None, fresh: bool
) -> None:
    peer = ClientProtocol(
        parse_uri("ws://example.org/"),
        extensions=[ClientPerMessageDeflateFactory(fresh, fresh, bits, bits or True)],
        max_size=None,
    )
    peer.send_request(peer.connect())
    callee = server(deflate=deflate)
    response, opened = callee.accept(take(callee, b"".join(peer.data_to_send())))
    peer.receive_data(response)
    talk_with_websockets(peer, opened)


@pytest.mark.parametrize("deflate", DEFLATES[1:])
@pytest.mark.parametrize("bits", [None, 9, 15])
@pytest.mark.parametrize("fresh", [False, True])
def test_a_server_of_websockets_is_understood(
    deflate: Deflate, bits: int | None, fresh: bool
) -> None:
    caller = client(deflate=deflate)
    peer = ServerProtocol(
        extensions=[ServerPerMessageDeflateFactory(fresh, fresh, bits, bits)], max_size=None
    )
    peer.receive_data(caller.request())
    (request,) = peer.events_received()
    assert isinstance(request, Request)
    peer.send_response(peer.accept(request))
    talk_with_websockets(peer, open_client(caller, b"".join(peer.data_to_send())))


def talk_with_websockets(peer: ClientProtocol | ServerProtocol, opened: Opened) -> None:
    assert peer.handshake_exc is None
    assert [type(extension) for extension in peer.extensions] == [PerMessageDeflate]
    peer.events_received()
    for _ in range(2):
        peer.send_text(b"theirs " * 50)
        opened.decoder.feed(b"".join(peer.data_to_send()))
        peer.receive_data(b"".join(opened.encoder.message("ours " * 50)))
    assert list(opened.decoder.inbox) == ["theirs " * 50] * 2
    frames = [event for event in peer.events_received() if isinstance(event, Frame)]
    assert [bytes(event.data) for event in frames] == [b"ours " * 50] * 2


def test_the_bytes_behind_the_request_are_kept() -> None:
    caller, callee = client(), server()
    early = frame(PING, b"early", masked=True)
    request = take(callee, caller.request() + early)
    _, opened = callee.accept(request)
    opened.decoder.feed(opened.rest)
    assert opened.decoder.controls == [(PING, b"early")]


def test_the_limit_for_messages_reaches_the_decoders() -> None:
    small = Limits(message_bytes=10)
    caller, callee = client(limits=small), server(limits=small)
    response, theirs = callee.accept(take(callee, caller.request()))
    ours = open_client(caller, response)
    for sender, receiver in ((ours, theirs), (theirs, ours)):
        with pytest.raises(Exception, match="over the limit of 10"):
            receiver.decoder.feed(b"".join(sender.encoder.message("x" * 11)))


# Subprotocols.


@pytest.mark.parametrize(
    ("offered", "spoken", "selected"),
    [
        ((), (), None),
        (("a", "b"), (), None),
        ((), ("a",), None),
        (("a",), ("b",), None),
        (("a", "b"), ("b", "a"), "b"),
        (("a",), ("b", "a"), "a"),
    ],
)
def test_the_servers_favourite_of_what_is_offered_is_selected(
    offered: Sequence[str], spoken: Sequence[str], selected: str | None
) -> None:
    caller, callee = client(subprotocols=offered), server(subprotocols=spoken)
    response, theirs = callee.accept(take(callee, caller.request()))
    assert open_client(caller, response).subprotocol == theirs.subprotocol == selected


@pytest.mark.parametrize("names", ["chat", ["a b"], ["a\r\nX: y"], [""], [b"chat"], ["a", None]])
@pytest.mark.parametrize("make", [client, server])
def test_what_is_no_list_of_tokens_is_no_list_of_subprotocols(
    names: Sequence[str], make: Callable[..., object]
) -> None:
    with pytest.raises(UsageError, match="subprotocols to be a sequence of tokens"):
        make(subprotocols=names)


def test_a_subprotocol_is_offered_once() -> None:
    with pytest.raises(UsageError, match="subprotocols to differ"):
        client(subprotocols=["a", "b", "a"])


# The client's request.


def test_the_request_says_what_rfc_6455_asks_for() -> None:
    made = client(subprotocols=["a", "b"])
    assert made.request().startswith(b"GET /feed?token=hunter2 HTTP/1.1\r\n")
    headers = requested(made)
    assert len(headers.pop("sec-websocket-key")) == 24
    assert headers == {
        "host": "example.org:8080",
        "authorization": BASIC,
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-version": "13",
        "sec-websocket-protocol": "a, b",
        "user-agent": "statews",
    }


def test_every_request_has_a_key_of_its_own() -> None:
    assert len({requested(client())["sec-websocket-key"] for _ in range(50)}) == 50


@pytest.mark.parametrize("name", ["Host", "Authorization", "User-Agent", "Origin", "Cookie"])
@pytest.mark.parametrize("spell", [str.lower, str.upper, str.title])
def test_a_header_of_the_users_is_sent_in_the_place_of_ours(
    name: str, spell: Callable[[str], str]
) -> None:
    assert requested(client(headers={spell(name): "theirs"}))[name.lower()] == "theirs"


def test_the_last_spelling_of_a_header_counts() -> None:
    assert requested(client(headers={"cookie": "a", "Cookie": "b"}))["cookie"] == "b"


@pytest.mark.parametrize(
    "name",
    [
        "Upgrade",
        "connection",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
        "sec-websocket-protocol",
        "SEC-WEBSOCKET-EXTENSIONS",
        "Sec-WebSocket-Accept",
        "Content-Length",
        "Transfer-Encoding",
    ],
)
def test_what_makes_it_a_handshake_cannot_be_replaced(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} belongs to the opening handshake"):
        client(headers={name: "x"})


@pytest.mark.parametrize(
    "value", ["a\r\nX: y", "a\nb", "a\rb", "a\x00b", "€", "é", "\x7f", 7, None]
)
def test_a_value_that_would_end_the_header_is_refused_and_not_quoted(value: str) -> None:
    with pytest.raises(UsageError, match="the header X-Token must be text") as caught:
        client(headers={"X-Token": value})
    assert repr(value) not in str(caught.value)


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\nb", "é", 7])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="expected the name of a header"):
        client(headers={name: "x"})


@given(name=st.text(max_size=5), value=st.text(max_size=10))
@example(name="0", value="\x80")
@example(name="HOST", value="")  # takes the place of ours
def test_a_header_of_the_users_is_one_line_at_most(name: str, value: str) -> None:
    try:
        made = client(headers={name: value})
    except UsageError:
        return
    assert requested(made)[name.lower()] == value.strip(" ") or not value.strip()
    assert made.request().count(b"\r\n") - client().request().count(b"\r\n") in {0, 1}


def test_a_header_may_hold_a_tab() -> None:
    assert client(headers={"X": "a\t~"}).request()


# The URL.


@pytest.mark.parametrize(
    ("url", "host", "resource"),
    [
        ("ws://example.org", "example.org", "/"),
        ("wss://example.org", "example.org", "/"),
        ("ws://example.org:80/a?b=c", "example.org", "/a?b=c"),
        ("wss://example.org:80/", "example.org:80", "/"),
        ("ws://[::1]:99/", "[::1]:99", "/"),
        ("ws://bücher.example/é?ü", "xn--bcher-kva.example", "/%C3%A9?%C3%BC"),
    ],
)
def test_a_url_names_the_host_and_what_is_asked_for(url: str, host: str, resource: str) -> None:
    made = client(url=url)
    assert requested(made)["host"] == host
    assert made.request().startswith(f"GET {resource} HTTP/1.1\r\n".encode())


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org",
        "http://hunter2@example.org/",
        "ws://",
        "ws:///hunter2",
        "ws://example.org/#hunter2",
        "ws://hunter2@example.org/",
        "ws://user:hunter2/x@example.org/",
        "ws://user:hunter2?x@example.org/",
        "ws://user:hunter2@[::1/",
        "ws://user:hunter2@example.org:99999/",
        "ws://user:hunter2@exa\u2100mple.org/",
        f"ws://user:hunter2@{'é' * 99}/",
    ],
)
def test_a_wrong_url_is_refused_and_nothing_secret_is_quoted(url: str) -> None:
    with pytest.raises(UsageError, match="expected a URL like wss://host:port/path, but") as got:
        parse_url(url)
    assert SECRET not in str(got.value)
    assert got.value.__cause__ is None
    assert got.value.__context__ is None


@pytest.mark.parametrize("character", [" ", "\t", "\r", "\n", "\x00", "\x0b", "\x7f"])
def test_a_url_cannot_break_out_of_its_line(character: str) -> None:
    with pytest.raises(UsageError, match="no spaces or control characters"):
        parse_url(f"ws://example.org/hunter2{character}HTTP/1.1")


# The server's answer, as a client takes it.


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (("Accept: ", "Accept: x"), "101 that is wrong: invalid Sec-WebSocket-Accept"),
        (("Sec-WebSocket-Accept", "X-Accept"), "101 that is wrong: missing Sec-WebSocket-Accept"),
        (("Upgrade: websocket", "Upgrade: h2c"), "101 that is wrong: invalid Upgrade"),
        (("Upgrade: websocket", "X: y"), "101 that is wrong: missing Upgrade"),
        (("Connection: Upgrade", "Connection: close"), "101 that is wrong: invalid Connection"),
        (("\r\n\r\n", "\r\nSec-WebSocket-Accept: y\r\n\r\n"), "101 that is wrong: .* multiple"),
        (("HTTP/1.1 101", "HTTP/3 101"), "something that is no HTTP"),
        (("HTTP/1.1 101", "ICY 101"), "something that is no HTTP"),
    ],
)
def test_an_answer_that_is_none_is_refused(edit: tuple[str, str], match: str) -> None:
    made = client()
    with pytest.raises(HandshakeError, match=match) as caught:
        open_client(made, switching(made).decode().replace(*edit).encode())
    assert not isinstance(caught.value, UpgradeRefused)


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("Sec-WebSocket-Protocol: c", "agreed to what was not offered: unsupported subprotocol"),
        ("Sec-WebSocket-Protocol: a, b", "101 that is wrong: .*multiple values"),
        ("Sec-WebSocket-Extensions: x-zip", "agreed to what was not offered: .*x-zip"),
        (
            "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=7",
            "agreed to what was not offered",
        ),
        (
            "Sec-WebSocket-Extensions: permessage-deflate, permessage-deflate",
            "agreed to what was not offered",
        ),
        ("Sec-WebSocket-Extensions: ;", "101 that is wrong"),
    ],
)
def test_nothing_is_agreed_on_that_was_not_offered(line: str, match: str) -> None:
    made = client(subprotocols=["a", "b"], deflate=Deflate())
    with pytest.raises(HandshakeError, match=match):
        open_client(made, switching(made, line))


@pytest.mark.parametrize(
    "line", ["Sec-WebSocket-Protocol: a", "Sec-WebSocket-Extensions: permessage-deflate"]
)
def test_a_client_that_offers_nothing_gets_nothing(line: str) -> None:
    made = client()
    with pytest.raises(HandshakeError, match="agreed to what was not offered: no "):
        open_client(made, switching(made, line))


def test_a_server_may_choose_a_window_of_8_bits_for_itself() -> None:
    made = client(deflate=Deflate())
    line = "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=8"
    opened = open_client(made, switching(made, line))
    opened.decoder.feed(frame(TEXT, b"\x00\x05\x00\xfa\xffHello\x00", rsv=4))
    assert list(opened.decoder.inbox) == ["Hello"]


@pytest.mark.parametrize("line", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_a_101_has_no_body_whatever_its_headers_say(line: str) -> None:
    made = client()  # RFC 9112 section 6.3
    opened = open_client(made, switching(made, line) + b"\x81\x03abc")
    assert opened.rest == b"\x81\x03abc"


def test_interim_responses_come_before_the_101() -> None:
    made = client()
    assert open_client(made, b"HTTP/1.1 103 Early Hints\r\n\r\n" + switching(made)).rest == b""


def test_headers_of_the_answer_are_in_lower_case() -> None:
    made = client()
    opened = open_client(
        made, switching(made, "X-Served-By: me", "Set-Cookie: a", "set-cookie: b")
    )
    assert opened.headers["x-served-by"] == "me"
    assert opened.headers["set-cookie"] == "a, b"


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_refusal_has_its_facts(version: str) -> None:
    body = b"{" + b"x" * 2000
    wire = f"HTTP/{version} 503 Slow Down\r\nRetry-After: 7\r\nX-A: b\r\n\r\n".encode() + body
    with pytest.raises(UpgradeRefused, match="answered 503 Slow Down instead of 101") as caught:
        client().feed(wire)
    refused = caught.value
    assert (refused.status, refused.body) == (503, body[:1024])
    assert refused.headers == {"retry-after": "7", "x-a": "b"}


def test_a_refusal_needs_no_reason_phrase() -> None:
    with pytest.raises(UpgradeRefused, match="answered 403 instead of 101"):
        client().feed(b"HTTP/1.1 403 \r\n\r\n")


def test_an_endless_answer_is_given_up() -> None:
    made = client(limits=Limits(header_bytes=1000))
    chunks = itertools.chain([b"HTTP/1.1 101 OK\r\n"], itertools.repeat(b"a: very long\r\n"))
    with pytest.raises(HandshakeError, match="head of over 1000 bytes"):
        open_with(made, chunks)


def test_an_end_before_the_answer_is_told() -> None:
    with pytest.raises(HandshakeError, match="closed the TCP connection in the middle"):
        client().feed(b"")


def test_masks_are_drawn_from_the_systems_entropy(monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn(size: int) -> bytes:
        return b"\xab" * size

    monkeypatch.setattr(os, "urandom", drawn)
    made = client()
    header, _ = open_client(made, switching(made)).encoder.message("x")
    assert header == b"\x81\x81" + b"\xab" * 4


# The client's request, as a server takes it.


def asking(
    changes: Mapping[bytes, bytes | None] | None = None, line: bytes = b"GET /chat HTTP/1.1"
) -> bytes:
    """A right request but for these headers; None leaves one out."""
    headers = {**request_headers, **(changes or {})}
    lines = [name + b": " + value for name, value in headers.items() if value is not None]
    return b"\r\n".join([line, *lines, b"", b""])


def test_the_example_of_the_rfc_is_accepted() -> None:
    made = server()
    response, opened = made.accept(take(made, asking()))
    assert response.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in response  # section 1.3
    assert (opened.path, opened.headers["host"]) == ("/chat", "example.org")


@pytest.mark.parametrize(
    ("wire", "statuses"),
    [
        (asking({b"Upgrade": None}), {426}),
        (asking({b"Upgrade": b"h2c"}), {426}),
        (asking({b"Connection": b"keep-alive"}), {426}),
        (asking({b"Sec-WebSocket-Key": None}), {400}),
        (asking({b"Sec-WebSocket-Key": b"short"}), {400}),
        (asking({b"Sec-WebSocket-Key": b"c2hvcnQ="}), {400}),
        (asking({b"Sec-WebSocket-Version": None}), {400}),
        (asking({b"Sec-WebSocket-Version": b"8"}), {400}),
        (asking({b"Host": None}), {400}),
        (asking({b"host": b"example.com"}), {400}),
        (asking(line=b"POST /chat HTTP/1.1"), {400, 405}),  # `websockets` 16, 17
        (asking(line=b"GET /chat HTTP/1.0"), {400, 505}),
        (asking(line=b"GET /chat HTTP/2.0"), {400}),
        (asking({b"Content-Length": b"4"}), {400}),
        (asking({b"Transfer-Encoding": b"chunked"}), {400}),
        (asking({b"Bad Name": b"x"}), {400}),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", {400}),
        (asking({b"X": b"y" * 9000}), {431}),
        (asking({b"X%d" % number: b"y" for number in range(200)}), {431}),
    ],
)
def test_a_wrong_request_gets_the_right_status(wire: bytes, statuses: set[int]) -> None:
    made = server()
    with pytest.raises(Refusal, match="request is not a WebSocket's: ") as caught:
        made.accept(take(made, wire))
    head, _, body = caught.value.response.partition(b"\r\n\r\n")
    assert int(head.split()[1]) in statuses
    assert b"Connection: close" in head
    assert b"Content-Length: %d\r\n" % len(body) in head + b"\r\n"


def test_a_refused_client_is_told_which_version_is_spoken_here() -> None:
    made = server()
    with pytest.raises(Refusal, match="Sec-WebSocket-Version") as caught:
        made.accept(take(made, asking({b"Sec-WebSocket-Version": b"14"})))
    assert b"\r\nSec-WebSocket-Version: 13\r\n" in caught.value.response  # section 4.4


def test_a_request_over_the_limit_is_answered_431() -> None:
    made = server(limits=Limits(header_bytes=100))
    with pytest.raises(Refusal, match="head of over 100 bytes") as caught:
        made.feed(asking())
    assert caught.value.response.startswith(b"HTTP/1.1 431 ")


def test_a_refusal_is_a_whole_response() -> None:
    response = server().refuse(503, "too many", {"Retry-After": "5"})
    head, _, body = response.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nRetry-After: 5" in head
    assert (body, b"Content-Length: 9" in head) == (b"too many\n", True)


def test_a_bug_in_the_negotiation_is_a_500_with_its_cause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def break_down(*_: object) -> None:
        raise RuntimeError("a bug")

    made = server()
    request = take(made, asking())
    monkeypatch.setattr(ServerProtocol, "process_request", break_down)
    with pytest.raises(Refusal, match="a bug") as caught:
        made.accept(request)
    assert caught.value.response.startswith(b"HTTP/1.1 500 ")
    assert isinstance(caught.value.__cause__, RuntimeError)


# Credentials.


def test_nothing_of_the_handshake_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("websockets").setLevel(logging.DEBUG)
    caller, callee = client(), server()
    response, _ = callee.accept(take(callee, caller.request()))
    open_client(caller, response)
    callee = server()
    request = take(callee, asking({b"Upgrade": None}))
    with pytest.raises(Refusal, match="Upgrade"):
        callee.accept(request)
    assert caplog.records == []


def test_nothing_shows_credentials_in_its_repr() -> None:
    caller, callee = client(headers={"Cookie": SECRET}), server()
    request = take(callee, caller.request())
    response, theirs = callee.accept(request)
    wire = response.replace(b"\r\n\r\n", b"\r\nSet-Cookie: hunter2\r\n\r\n")
    ours = open_client(caller, wire)
    for thing in (caller, callee, ours, theirs):
        assert SECRET not in repr(thing)
        assert BASIC not in repr(thing)


def test_a_refusal_shows_no_headers_and_no_body() -> None:
    with pytest.raises(UpgradeRefused, match="401") as caught:
        client().feed(b"HTTP/1.1 401 No\r\nSet-Cookie: hunter2\r\n\r\nhunter2")
    assert SECRET not in repr(caught.value)
    assert SECRET not in str(caught.value)
