"""Credentials and hooks: in virtual time, on a network without sockets."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress

import anyio
import pytest
from anyio import current_time

import statews
from statews import (
    Link,
    LinkClosed,
    State,
)

from .world import (
    URL,
    World,
    accept,
    connect,
    echo,
    echo_handler,
    refuse,
    respond,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("world")]


async def leave(_: Link) -> None:
    """A handler that ends each link at once."""


async def test_each_attempt_asks_for_its_url_and_headers(world: World) -> None:
    asked: list[tuple[int, bool]] = []

    async def endpoint(attempt: statews.Attempt) -> str:
        asked.append((attempt.number, attempt.refresh))
        if len(asked) == 1:
            raise OSError("no token today")
        return f"ws://example.org/?token={len(asked)}"

    paths = []

    async def handler(link: Link) -> None:
        paths.append((link.path, link.headers["x-attempt"]))
        await echo_handler(link)

    async def headers(attempt: statews.Attempt) -> dict[str, str]:
        return {"X-Attempt": str(attempt.number)}

    world.scripts = [accept(handler)]
    async with connect(endpoint, headers=headers) as connection:
        world.wires[-1].cut()
        await connection.wait_for(State.BACKING_OFF)
        await connection.wait_for(State.OPEN)
    assert asked == [(0, False), (1, False), (2, False)]
    assert paths == [("/?token=2", "1"), ("/?token=3", "2")]


async def test_a_provider_is_told_what_went_wrong_before(world: World) -> None:
    world.scripts = [refuse, echo]
    told: list[Exception | None] = []

    async def headers(attempt: statews.Attempt) -> dict[str, str]:
        told.append(attempt.last_error)
        return {}

    async with connect(headers=headers):
        pass
    assert [type(error) for error in told] == [type(None), statews.DialError]


async def test_credentials_are_refreshed_once_then_the_connection_fails(world: World) -> None:
    unauthorized = respond(b"HTTP/1.1 401 Unauthorized\r\n\r\n")
    world.scripts = [unauthorized]
    asked = []

    async def headers(attempt: statews.Attempt) -> dict[str, str]:
        asked.append(attempt.refresh)
        return {"Authorization": "Bearer secret"}

    with pytest.raises(statews.ConnectionFailed, match="401 Unauthorized"):
        await connect(headers=headers).__aenter__()
    assert asked == [False, True]


async def test_after_a_link_that_lasted_credentials_may_be_refreshed_again(world: World) -> None:
    unauthorized = respond(b"HTTP/1.1 401 Unauthorized\r\n\r\n")
    world.scripts = [unauthorized, echo, unauthorized, echo]
    asked = []

    async def headers(attempt: statews.Attempt) -> dict[str, str]:
        asked.append(attempt.refresh)
        return {}

    async with connect(headers=headers) as connection:
        await anyio.sleep(20)
        world.wires[-1].cut()
        await connection.wait_for(State.BACKING_OFF)
        await connection.wait_for(State.OPEN)
    assert asked == [False, True, False, True]


async def test_hooks_run_on_every_link_before_messages_go_out(world: World) -> None:
    heard: list[str] = []

    async def server(link: Link) -> None:
        async for message in link:
            assert isinstance(message, str)
            heard.append(message)
            await link.send(f"re: {message}")

    async def authenticate(link: Link) -> None:
        await link.send("authenticate")
        assert await link.receive() == "re: authenticate"
        await anyio.sleep(1)

    async def subscribe(link: Link) -> None:
        await link.send("subscribe")

    world.scripts = [accept(server)]
    async with connect(on_open=[authenticate, subscribe], wait=False) as connection:
        await connection.send("first")
        assert await connection.receive() == "re: subscribe"
        assert await connection.receive() == "re: first"
        world.wires[-1].cut()
        await connection.wait_for(State.BACKING_OFF)
        await connection.send("second")
        assert await connection.receive() == "re: subscribe"
        assert await connection.receive() == "re: second"
    assert heard == ["authenticate", "subscribe", "first", "authenticate", "subscribe", "second"]


async def test_a_failing_hook_is_a_failed_attempt(world: World) -> None:
    runs = []

    async def hook(link: Link) -> None:
        runs.append(link)
        if len(runs) == 1:
            raise KeyError("mine")

    async with connect(on_open=hook) as connection:
        error = connection.snapshot().last_error
        assert isinstance(error, statews.HookError)
        assert isinstance(error.__cause__, KeyError)
    assert [wire.client.is_aborted for wire in world.wires] == [False, False]


async def test_a_hook_that_hangs_is_ended_by_the_opening_timeout() -> None:
    async def hook(_: Link) -> None:
        await anyio.sleep_forever()

    async with connect(on_open=hook, wait=False) as connection:
        await connection.wait_for(State.BACKING_OFF)
        error = connection.snapshot().last_error
        assert isinstance(error, statews.OpeningTimeout)
        assert str(error) == "the attempt took more than 15 seconds, while restoring"
        assert isinstance(error.__cause__, TimeoutError)
        assert current_time() == pytest.approx(15, abs=0.1)


async def be_late() -> None:
    """Swallow the cancellation at the deadline, and end somewhat later."""
    with suppress(BaseException):
        await anyio.sleep_forever()
    with anyio.CancelScope(shield=True):
        await anyio.sleep(0.01)


@pytest.mark.parametrize("place", ["hook", "headers", "endpoint"])
async def test_what_swallows_its_cancellation_has_not_been_in_time(place: str) -> None:
    async def swallow(_: object) -> object:
        await be_late()
        return {} if place == "headers" else URL

    arguments: dict[str, dict[str, object]] = {
        "hook": {"on_open": swallow},
        "headers": {"headers": swallow},
        "endpoint": {"url": swallow},
    }
    async with connect(**arguments[place], wait=False) as connection:
        assert await connection.wait_for(State.BACKING_OFF, State.OPEN) is State.BACKING_OFF
        assert isinstance(connection.snapshot().last_error, statews.OpeningTimeout)
        assert current_time() == pytest.approx(15, abs=0.1)


async def test_a_link_whose_hook_swallows_its_cancellation_is_closed(world: World) -> None:
    async def swallow(_: Link) -> None:
        await be_late()

    async with connect(on_open=swallow, wait=False) as connection:
        await connection.wait_for(State.BACKING_OFF)
        assert world.live_wires() == []
        assert connection.state is State.BACKING_OFF


async def test_a_kept_error_keeps_no_frames_and_neither_do_its_causes() -> None:
    async def hook(_: Link) -> None:
        await anyio.sleep_forever()

    async with connect(on_open=hook, wait=False) as connection:
        await connection.wait_for(State.BACKING_OFF)
        error: BaseException | None = connection.snapshot().last_error
        tracebacks = []
        while error is not None:
            tracebacks.append(error.__traceback__)
            error = error.__cause__ or error.__context__
        assert len(tracebacks) > 1
        assert set(tracebacks) == {None}


async def test_a_link_that_is_lost_under_a_hook_is_a_lost_link(world: World) -> None:
    async def hook(_: Link) -> None:
        await anyio.sleep_forever()

    world.scripts = [accept(leave)]
    async with connect(on_open=hook, wait=False) as connection:
        await connection.wait_for(State.BACKING_OFF)
        assert isinstance(connection.snapshot().last_error, LinkClosed)
        assert current_time() < 1


async def test_an_error_that_is_its_own_cause_is_told_like_any_other(world: World) -> None:
    async def hook(link: Link) -> None:
        try:
            await link.receive()
        except LinkClosed as error:
            raise error from error

    world.scripts = [accept(leave)]
    async with connect(on_open=hook, wait=False) as connection:
        await connection.wait_for(State.BACKING_OFF)
        assert isinstance(connection.snapshot().last_error, LinkClosed)


async def test_what_a_hook_must_be_is_said() -> None:
    with pytest.raises(statews.UsageError, match="expected on_open to be an async callable"):
        connect(on_open=[3])
    with pytest.raises(statews.ConnectionFailed, match="must be an async function"):
        await connect(on_open=lambda _: 3).__aenter__()


async def wait_for_what_is_cancelled() -> None:
    """As if for a token that several share, of which somebody else thinks better."""
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # trio cancels scopes only
@pytest.mark.parametrize("when", [0, 1])
@pytest.mark.parametrize("what", ["endpoint", "headers", "on_open"])
async def test_what_waits_for_what_somebody_else_cancels_has_failed(
    world: World, what: str, when: int
) -> None:
    calls = {"endpoint": 0, "headers": 0, "on_open": 0}

    async def called(name: str) -> None:
        calls[name] += 1
        if name == what and calls[name] == when + 1:
            await wait_for_what_is_cancelled()

    async def endpoint(_: statews.Attempt) -> str:
        await called("endpoint")
        return "ws://example.org/"

    async def headers(_: statews.Attempt) -> dict[str, str]:
        await called("headers")
        return {}

    async def hook(_: Link) -> None:
        await called("on_open")

    quick = statews.Policy(backoff=statews.Backoff(first=0.01, maximum=0.01))
    options = {"headers": headers, "on_open": [hook], "policy": quick}
    async with connect(endpoint, **options) as connection:
        if when:
            world.wires[-1].cut()
            await connection.wait_for(State.BACKING_OFF)
            await connection.wait_for(State.CONNECTING)
            await connection.wait_for(State.BACKING_OFF)
        error = connection.snapshot().last_error
        assert isinstance(error, statews.HookError)
        assert "waited for what somebody else has cancelled" in str(error)
        await connection.wait_for(State.OPEN)
        assert calls[what] == when + 2


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (None, "expected headers to be a mapping of names to values, got NoneType"),
        (["a"], "expected headers to be a mapping of names to values, got list"),
        ({"x": 5}, "the header x must be text of printable ASCII characters"),
        ({5: "x"}, "expected the name of a header, got 5"),
        ({"x": "a\r\nb: c"}, "the header x must be text of printable ASCII characters"),
    ],
)
@pytest.mark.parametrize("place", ["headers", "target"])
async def test_headers_of_a_provider_are_looked_at(place: str, given: object, why: str) -> None:
    async def provide(_: statews.Attempt) -> object:
        return given if place == "headers" else statews.Target(URL, given)  # type: ignore[arg-type]

    connection = connect(provide) if place == "target" else connect(headers=provide)
    with pytest.raises(statews.ConnectionFailed, match=re.escape(why)) as caught:
        await connection.__aenter__()
    assert [type(error) for error in caught.value.history] == [statews.UsageError]


@pytest.mark.parametrize("given", [5, None, b"ws://x", statews.Target(5)])  # type: ignore[arg-type]
async def test_the_target_of_a_provider_is_looked_at(given: object) -> None:
    async def provide(_: statews.Attempt) -> object:
        return given

    with pytest.raises(statews.ConnectionFailed, match="expected a URL or a Target") as caught:
        await connect(provide).__aenter__()
    assert [type(error) for error in caught.value.history] == [statews.UsageError]
