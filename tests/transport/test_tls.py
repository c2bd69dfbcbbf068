"""TLS over any stream: whole records over a transport that takes half of them, and every end."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import random
import ssl
from array import array

import anyio
import pytest
import trustme
from anyio.abc import TaskStatus

from statews import CertificateError, DialError, LinkDropped, UsageError
from statews.transport.stream import ByteStream, SocketStream, receive, send
from statews.transport.tls import TLSStream, default_context, secure

from .fakes import Throttle, socket_pair
from .peers import LOCALHOST, TLS

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024


class Pair:
    """A TLS connection, and the sockets under it."""

    def __init__(self) -> None:
        self.client_socket, self.server_socket = socket_pair()
        self.client_inner: ByteStream = self.client_socket
        self.server_inner: ByteStream = self.server_socket
        self.client: TLSStream
        self.server: TLSStream

    async def secure(self, client: ssl.SSLContext, server: ssl.SSLContext) -> Pair:
        async def accept(*, task_status: TaskStatus[None]) -> None:
            task_status.started()
            self.server = await secure(self.server_inner, server, hostname=None, server_side=True)

        async with anyio.create_task_group() as group:
            await group.start(accept)
            self.client = await secure(self.client_inner, client, hostname=LOCALHOST)
        return self

    def close(self) -> None:
        self.client_socket.close()
        self.server_socket.close()


async def secured(tls: TLS) -> Pair:
    return await Pair().secure(tls.client(), tls.server())


async def receive_all(stream: ByteStream, size: int, most: int = 65536) -> bytes:
    chunks: list[bytes] = []
    while size:
        chunks.append(await receive(stream, min(size, most)))
        size -= len(chunks[-1])
    return b"".join(chunks)


def some_bytes(size: int) -> bytes:
    return array("I", range(size // 4 + 1)).tobytes()[:size]


def sizes(seed: int) -> list[int]:
    """What a transport might take: often nothing, often a byte, sometimes much."""
    draw = random.Random(seed)  # noqa: S311
    return [draw.choice([0, 0, 1, 5, 29, 1000, 16_406, 20_000]) for _ in range(2000)]


@pytest.mark.parametrize("seed", range(5))
async def test_bytes_arrive_in_order_whatever_the_transport_takes(tls: TLS, seed: int) -> None:
    pair = Pair()
    pair.client_inner = Throttle(pair.client_socket, sizes(seed))
    pair.server_inner = Throttle(pair.server_socket, sizes(seed + 100))
    await pair.secure(tls.client(), tls.server())
    data = some_bytes(MIB)
    for one, other in [(pair.client, pair.server), (pair.server, pair.client)]:
        async with anyio.create_task_group() as group:
            group.start_soon(send, one, data)
            assert await receive_all(other, len(data), most=5000 + seed) == data
    pair.close()


async def test_bytes_that_were_not_taken_may_come_again_with_more_behind_them(tls: TLS) -> None:
    pair = await secured(tls)
    sent = received = b""
    rest = b""
    for step in range(200):
        rest += some_bytes(30_000 + step)
        taken = pair.client.send_nowait(rest)
        sent, rest = sent + rest[:taken], rest[taken:]
        if rest:
            received += await receive(pair.server, 50_000)
    assert rest  # the test was about that
    sent += rest
    async with anyio.create_task_group() as group:
        group.start_soon(send, pair.client, rest)
        received += await receive_all(pair.server, len(sent) - len(received))
    assert received == sent
    pair.close()


async def test_ten_megabytes_go_both_ways_at_once(tls: TLS) -> None:
    pair = await secured(tls)
    data = some_bytes(10 * MIB)
    received: dict[str, bytes] = {}

    async def take(name: str, stream: TLSStream) -> None:
        received[name] = await receive_all(stream, len(data), most=100_000)

    async with anyio.create_task_group() as group:
        group.start_soon(send, pair.client, data)
        group.start_soon(send, pair.server, data)
        group.start_soon(take, "client", pair.client)
        group.start_soon(take, "server", pair.server)
    assert received["client"] == data
    assert received["server"] == data
    pair.close()


async def test_many_small_records_are_received_at_once(tls: TLS) -> None:
    pair = await secured(tls)
    for number in range(100):
        await send(pair.server, b"%03d" % number)
    assert pair.client.receive_nowait() == b"".join(b"%03d" % number for number in range(100))
    assert pair.client.receive_nowait() is None
    pair.close()


async def test_no_more_is_received_than_was_asked_for(tls: TLS) -> None:
    pair = await secured(tls)
    await send(pair.server, b"12345")
    await send(pair.server, b"67890")
    assert pair.client.receive_nowait(3) == b"123"
    assert pair.client.is_readable()
    await pair.client.wait_readable()
    assert pair.client.receive_nowait(4) == b"4567"
    assert pair.client.receive_nowait(100) == b"890"
    assert not pair.client.is_readable()
    assert pair.client.receive_nowait() is None
    pair.close()


async def test_half_a_record_waits_for_its_other_half(tls: TLS) -> None:
    pair = Pair()
    await pair.secure(tls.client(), tls.server())
    pair.server._inner = Throttle(pair.server_socket, [40, 10])
    await send(pair.server, b"first")
    assert pair.server.send_nowait(b"second") == 0
    assert pair.client.receive_nowait() == b"first"
    assert pair.client.receive_nowait() is None
    assert pair.server.send_nowait(b"second") == 6
    assert pair.client.receive_nowait() == b"second"
    pair.close()


async def test_a_goodbye_is_an_end(tls: TLS) -> None:
    pair = await secured(tls)
    await send(pair.server, b"last")
    pair.server.send_eof()
    assert await receive(pair.client) == b"last"
    for _ in range(2):
        assert await receive(pair.client) == b""
    await send(pair.client, b"still there")  # the other direction is open
    assert await receive(pair.server) == b"still there"
    pair.close()


async def test_a_close_says_goodbye_and_may_come_again(tls: TLS) -> None:
    pair = await secured(tls)
    await send(pair.client, b"last")
    pair.client.close()
    pair.client.close()
    assert await receive(pair.server) == b"last"
    assert pair.server._tls.read() == b""  # by TLS's own word, not by the end of the socket
    pair.close()


async def test_a_cut_is_an_end(tls: TLS) -> None:
    """RFC 6455 has its own closing handshake, so that a cut shows there."""
    pair = await secured(tls)
    pair.server_socket.send_eof()
    for _ in range(2):
        assert await receive(pair.client) == b""
    pair.close()


async def test_bytes_behind_the_goodbye_are_nothing(tls: TLS) -> None:
    pair = await secured(tls)
    await send(pair.server, b"last")
    pair.server._say_goodbye()
    await send(pair.server_socket, b"more")
    assert await receive(pair.client) == b"last"
    assert await receive(pair.client) == b""
    pair.close()


async def test_garbage_is_a_dropped_link(tls: TLS) -> None:
    pair = await secured(tls)
    await send(pair.server, b"fine")
    await send(pair.server_socket, b"this is not TLS")
    assert await receive(pair.client) == b"fine"
    with pytest.raises(LinkDropped, match=r"^the link broke while receiving: "):
        await receive(pair.client)
    pair.close()


async def test_sending_over_a_broken_transport_is_a_dropped_link(tls: TLS) -> None:
    pair = await secured(tls)
    pair.server.abort()
    with pytest.raises(LinkDropped, match="while sending"):
        await send(pair.client, bytes(MIB))
    pair.close()


async def test_sending_after_the_goodbye_is_a_dropped_link(tls: TLS) -> None:
    pair = await secured(tls)
    pair.client.send_eof()
    with pytest.raises(LinkDropped, match="while sending"):
        await send(pair.client, b"one more thing")
    pair.close()


async def test_what_reading_has_to_answer_is_answered(tls: TLS) -> None:
    """TLS 1.3 lets a server ask for a certificate at any time (RFC 8446 section 4.6.2)."""
    pair = await Pair().secure(*asking_later(tls))
    assert not pair.server._tls.getpeercert()
    pair.server._tls.verify_client_post_handshake()
    await send(pair.server, b"who are you?")
    assert await receive(pair.client) == b"who are you?"
    assert pair.client.receive_nowait() is None
    assert pair.server.receive_nowait() is None
    assert pair.server._tls.getpeercert()
    pair.close()


async def test_what_came_before_the_end_is_received_though_nothing_can_be_answered(
    tls: TLS,
) -> None:
    pair = await Pair().secure(*asking_later(tls))
    pair.server._tls.verify_client_post_handshake()
    await send(pair.server, b"who are you?")
    pair.server.close()
    assert await receive(pair.client) == b"who are you?"
    assert await receive(pair.client) == b""
    pair.close()


def asking_later(tls: TLS) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    client, server = tls.client(), tls.server()
    tls.certify(client, "client.test")
    tls.trust(server)
    client.post_handshake_auth = server.post_handshake_auth = True
    server.verify_mode = ssl.CERT_OPTIONAL
    return client, server


async def test_a_renegotiation_holds_up_what_is_sent(tls: TLS) -> None:
    class Renegotiating:
        """What OpenSSL says while the peer wants another handshake (TLS 1.2)."""

        def write(self, _: memoryview) -> int:
            raise ssl.SSLWantReadError

    pair = await secured(tls)
    between_handshakes = pair.client._tls
    pair.client._tls = Renegotiating()  # type: ignore[assignment] # pyright: ignore[reportAttributeAccessIssue]
    assert pair.client.send_nowait(b"hello") == 0
    pair.client._tls = between_handshakes
    assert pair.client.send_nowait(b"hello") == 5
    assert await receive(pair.server) == b"hello"
    pair.close()


# The handshake.


async def refuse(pair: Pair, client: ssl.SSLContext, server: ssl.SSLContext) -> tuple[str, str]:
    """A handshake that fails: what the client says of it, and the server."""
    said: dict[str, str] = {}

    async def attempt(name: str, inner: ByteStream, context: ssl.SSLContext) -> None:
        is_client = name == "client"
        try:
            stream = await secure(
                inner,
                context,
                hostname=LOCALHOST if is_client else None,
                server_side=not is_client,
            )
            await receive(stream)
        except (CertificateError, DialError, LinkDropped) as error:
            said[name] = f"{type(error).__name__}: {error}"
        inner.send_eof()

    async with anyio.create_task_group() as group:
        group.start_soon(attempt, "client", pair.client_inner, client)
        group.start_soon(attempt, "server", pair.server_inner, server)
    pair.close()
    return said["client"], said["server"]


async def test_a_peer_learns_that_its_certificate_was_not_accepted(tls: TLS) -> None:
    strangers = TLS(trustme.CA())
    client, server = await refuse(Pair(), strangers.client(), tls.server())
    assert client.startswith(f"CertificateError: the certificate of {LOCALHOST} was not accepted")
    assert server.startswith("DialError: the TLS handshake with the client failed: ")
    assert "unknown ca" in server


async def test_a_client_without_a_certificate_is_refused_where_one_is_needed(tls: TLS) -> None:
    asking = tls.server()
    asking.verify_mode = ssl.CERT_REQUIRED
    client, server = await refuse(Pair(), tls.client(), asking)
    assert server == (
        "DialError: the TLS handshake with the client failed: peer did not return a certificate"
    )
    assert "certificate required" in client.lower()


async def test_a_clients_certificate_of_another_authority_is_refused(tls: TLS) -> None:
    asking, unknown = tls.server(), tls.client()
    asking.verify_mode = ssl.CERT_REQUIRED
    TLS(trustme.CA()).certify(unknown, "client.test")
    _, server = await refuse(Pair(), unknown, asking)
    assert server.startswith("CertificateError: the certificate of the client was not accepted: ")


async def test_versions_without_overlap_are_a_dial_error(tls: TLS) -> None:
    old, new = tls.client(), tls.server()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    new.minimum_version = ssl.TLSVersion.TLSv1_3
    client, server = await refuse(Pair(), old, new)
    assert client.startswith(f"DialError: the TLS handshake with {LOCALHOST} failed: tlsv1 alert")
    assert server.endswith("failed: unsupported protocol")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "what the peer sends is not TLS"),
        (b"", "the peer closed the TCP connection in the middle of it"),
        (b"\x16\x03\x03\x00\x05", "the peer closed the TCP connection in the middle of it"),
    ],
)
async def test_a_peer_without_tls_is_a_dial_error(tls: TLS, said: bytes, why: str) -> None:
    one, other = socket_pair()
    await send(other, said)
    other.send_eof()
    with pytest.raises(DialError, match=f"^the TLS handshake with {LOCALHOST} failed: {why}$"):
        await secure(one, tls.client(), hostname=LOCALHOST)
    one.close()
    other.close()


async def test_a_break_in_the_handshake_is_a_dial_error(tls: TLS) -> None:
    one, other = socket_pair()
    other.close()
    with pytest.raises(DialError, match="failed: the link broke while sending"):
        await secure(one, tls.client(), hostname=LOCALHOST)
    one.close()


async def test_a_plain_http_client_is_a_dial_error_for_the_server(tls: TLS) -> None:
    one, other = socket_pair()
    await send(other, b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(DialError, match="the client failed: what the peer sends is not TLS"):
        await secure(one, tls.server(), hostname=None, server_side=True)
    one.close()
    other.close()


@pytest.mark.parametrize("hostname", [".example", "a..b", "x" * 64])
async def test_a_host_name_that_is_none_is_a_usage_error(tls: TLS, hostname: str) -> None:
    one, other = socket_pair()
    with pytest.raises(UsageError, match=r"^the SSLContext cannot be used with "):
        await secure(one, tls.client(), hostname=hostname)
    one.close()
    other.close()


async def test_the_context_of_the_other_side_is_a_usage_error() -> None:
    one, other = socket_pair()
    with pytest.raises(UsageError, match="the SSLContext cannot be used with"):
        await secure(one, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), hostname=LOCALHOST)
    one.close()
    other.close()


async def test_a_stream_tells_what_it_is(tls: TLS) -> None:
    pair = await secured(tls)
    assert repr(pair.client) == f"<TLSStream TLSv1.3 over {pair.client_socket!r}>"
    assert isinstance(pair.client_socket, SocketStream)
    pair.close()


def test_the_default_context_is_made_once_and_checks_host_names() -> None:
    assert default_context() is default_context()
    assert default_context().check_hostname
    assert default_context().verify_mode is ssl.CERT_REQUIRED
