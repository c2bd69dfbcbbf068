"""Redirects: where they lead, what goes along, and that nothing of them lasts."""

from __future__ import annotations

import base64

import pytest

from statews import DialError, HandshakeError, Limits, Policy, Target, UpgradeRefused, listen
from statews.transport.dial import redirect

from .peers import LOCALHOST, TLS, Peer, accepted, dial_to, echo, scripted, unused_port

pytestmark = pytest.mark.anyio

SECRETS = {"Authorization": "Bearer token", "Cookie": "session=1", "X-Api-Key": "key"}


class Site:
    """A server that redirects by path, and opens a link where there is no redirect."""

    def __init__(self, **locations: str) -> None:
        self.locations = {f"/{path}": location for path, location in locations.items()}
        self.requests: list[str] = []

    async def __call__(self, peer: Peer) -> None:
        request = await peer.head()
        self.requests.append(request.decode())
        path = request.split()[1].decode()
        location = self.locations.get(path.partition("?")[0])
        if location is None:
            await peer.send(accepted(request))
            await peer.end()
        else:
            head = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
            await peer.send(head.encode("latin-1"))

    @property
    def paths(self) -> list[str]:
        return [request.split()[1] for request in self.requests]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_every_redirect_is_followed(status: int) -> None:
    async with listen(echo) as listener:

        async def answer(peer: Peer) -> None:
            location = f"Location: ws://{LOCALHOST}:{listener.port}/there"
            await peer.answer(f"{status} Elsewhere", location)

        async with scripted(answer) as server:
            (await dial_to(server.url)).abort()


@pytest.mark.parametrize("status", ["300 Multiple Choices", "304 Not Modified", "305 Use Proxy"])
async def test_other_answers_of_300_are_refusals(status: str) -> None:
    async with scripted(lambda peer: peer.answer(status, "Location: /")) as server:
        with pytest.raises(UpgradeRefused, match=f"answered {status} instead of 101"):
            await dial_to(server.url)
        assert server.served == 1


async def test_a_redirect_without_a_location_is_a_refusal() -> None:
    async with scripted(lambda peer: peer.answer("302 Found")) as server:
        with pytest.raises(UpgradeRefused, match="answered 302 Found instead of 101"):
            await dial_to(server.url)


async def test_as_many_redirects_are_followed_as_the_policy_says() -> None:
    site = Site(a="/b", b="/c", c="/d")
    async with scripted(site) as server:
        url = f"{server.url}a"
        link = await dial_to(url, policy=Policy(limits=Limits(redirects=3)))
        link.abort()
        assert site.paths == ["/a", "/b", "/c", "/d"]
        with pytest.raises(UpgradeRefused, match="redirected more than 2 times") as caught:
            await dial_to(url, policy=Policy(limits=Limits(redirects=2)))
        assert caught.value.status == 302
        assert caught.value.headers["location"] == "/d"
        with pytest.raises(UpgradeRefused, match="redirected more than 0 times"):
            await dial_to(url, policy=Policy(limits=Limits(redirects=0)))


async def test_a_loop_ends() -> None:
    site = Site(a="/b", b="/a")
    async with scripted(site) as server:
        with pytest.raises(UpgradeRefused, match="redirected more than 5 times"):
            await dial_to(f"{server.url}a")
    assert site.paths == ["/a", "/b"] * 3


async def test_the_same_origin_gets_headers_and_credentials_again() -> None:
    site = Site(a="/b?q=1")
    async with scripted(site) as server:
        url = f"ws://user:password@{LOCALHOST}:{server.port}/a"
        (await dial_to(url, headers={"Cookie": "session=1"})).abort()
    basic = base64.b64encode(b"user:password").decode()
    for request in site.requests:
        assert f"\r\nAuthorization: Basic {basic}\r\n" in request
        assert "\r\nCookie: session=1\r\n" in request
    assert site.paths == ["/a", "/b?q=1"]


async def test_another_origin_gets_no_header_and_no_credentials_of_ours() -> None:
    there = Site()
    async with scripted(there) as other:
        here = Site(a=f"ws://new:one@{LOCALHOST}:{other.port}/b")
        async with scripted(here) as server:
            url = f"ws://user:password@{LOCALHOST}:{server.port}/a"
            (await dial_to(url, headers=SECRETS)).abort()
    assert "Bearer token" in here.requests[0]
    [request] = there.requests
    for name, value in {**SECRETS, "Basic": "user", "Basic ": "new"}.items():
        assert name not in request
        assert value not in request


async def test_the_way_back_carries_nothing_either() -> None:
    here = Site()
    async with scripted(here) as server:
        there = Site(b=f"{server.url}c")
        async with scripted(there) as other:
            here.locations["/a"] = f"{other.url}b"
            (await dial_to(f"{server.url}a", headers=SECRETS)).abort()
    assert here.paths == ["/a", "/c"]
    assert "Bearer token" not in here.requests[1]


async def test_the_next_attempt_begins_where_it_was_told_to() -> None:
    site = Site(a="/b")
    target_headers = dict(SECRETS)
    async with scripted(site) as server:
        for _ in range(2):
            (await dial_to(f"{server.url}a", headers=target_headers)).abort()
    assert site.paths == ["/a", "/b", "/a", "/b"]
    assert target_headers == SECRETS


async def test_a_redirect_into_tls_is_followed_and_one_out_of_it_is_not(tls: TLS) -> None:
    client = tls.client()
    async with listen(echo, ssl=tls.server()) as listener:
        site = Site(a=f"https://{LOCALHOST}:{listener.port}/b")
        async with scripted(site) as server:
            (await dial_to(f"{server.url}a", ssl=client)).abort()

    site = Site(a=f"http://{LOCALHOST}:{unused_port()}/b")
    async with scripted(site, context=tls.server()) as server:
        with pytest.raises(HandshakeError, match="from wss to ws, out of TLS"):
            await dial_to(f"{server.secure_url}a", ssl=client)


@pytest.mark.parametrize(
    "location",
    [
        "mailto:somebody@example.org",
        "javascript:alert(1)",
        "ftp://example.org/",
        "http://[::1",
        "ws://host:99999/",
        "ws://host:port/",
        "ws://user@host/",
        "http://\xbd.example:80:80/",
        "ws+unix:///run/docker.sock:/",
    ],
)
async def test_a_location_where_no_websocket_can_be_is_a_handshake_error(location: str) -> None:
    async with scripted(Site(a=location)) as server:
        with pytest.raises(HandshakeError, match="the server redirected to "):
            await dial_to(f"{server.url}a")


async def test_a_location_that_leads_nowhere_is_a_dial_error() -> None:
    async with scripted(Site(a=f"ws://{LOCALHOST}:{unused_port()}/")) as server:
        with pytest.raises(DialError, match="could not connect"):
            await dial_to(f"{server.url}a")


@pytest.mark.parametrize(
    ("url", "location", "expected"),
    [
        ("ws://host/a/b?q", "c", "ws://host/a/c"),
        ("ws://host/a/b?q", "../c?r", "ws://host/c?r"),
        ("ws://host/a/b", "/c", "ws://host/c"),
        ("ws://host/a/b", "?r", "ws://host/a/b?r"),
        ("ws://host/a", "", "ws://host/a"),
        ("ws://host/a", "/c#fragment", "ws://host/c"),
        ("ws://host/a", " /c d ", "ws://host/c%20d"),
        ("ws://host/a", "//host:80/c", "ws://host:80/c"),
        ("ws://host/a", "http://HOST/c", "ws://HOST/c"),
        ("wss://host/a", "https://host:443/c", "wss://host:443/c"),
        ("WSS://ws.host/a", "/c", "wss://ws.host/c"),
        ("ws://u:p@host/a", "/c", "ws://u:p@host/c"),
        ("ws://u:p@host/a", "ws://host/c", "ws://u:p@host/c"),
        ("ws://u:p@host/a", "http://host:80/c", "ws://u:p@host:80/c"),
        ("ws://u:p@host/a", "ws://v:q@host/c", "ws://v:q@host/c"),
    ],
)
def test_a_location_on_the_same_origin_keeps_the_headers(
    url: str, location: str, expected: str
) -> None:
    assert redirect(Target(url, SECRETS), location) == Target(expected, SECRETS)


@pytest.mark.parametrize(
    ("url", "location", "expected"),
    [
        ("ws://u:p@host/a", "//other/c", "ws://other/c"),
        ("ws://u:p@host/a", "ws://host:81/c", "ws://host:81/c"),
        ("ws://u:p@host/a", "https://host/c", "wss://host/c"),
        ("ws://u:p@host/a", "ws://v:q@sub.host/c", "ws://sub.host/c"),
        ("ws://u:p@host/a", "ws://host:@other/c", "ws://other/c"),
        ("ws://u:p@host/a", "ws://host:80@other:80/c", "ws://other:80/c"),
    ],
)
def test_a_location_on_another_origin_keeps_nothing(
    url: str, location: str, expected: str
) -> None:
    assert redirect(Target(url, SECRETS), location) == Target(expected)


def test_a_unix_socket_redirects_nowhere() -> None:
    with pytest.raises(HandshakeError, match="where no WebSocket can be"):
        redirect(Target("ws+unix:///socket:/a"), "/b")
