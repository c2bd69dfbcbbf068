"""The steps of the demo: what is done to the link, and what must come of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import anyio

from ...lifecycle import State
from .names import SECOND
from .observed import (
    Observed,
    is_closed,
    is_connected,
    is_found_silent,
    is_lost_and_back,
    is_no_hot_loop,
    is_only_slow,
    is_refused,
    is_restarted,
    is_undisturbed,
)
from .pace import Pace
from .stage import Network, Stage

__all__ = ["STEPS", "Step"]

BROKEN: Final = "━━╳   "  # noqa: RUF001 - a cross, not an X


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step.

    Attributes:
        name: for `--steps`.
        says: what happens, with the numbers of the pace.
        play: does it, and takes it back.
        complain: why it did not end as it should; empty if it did.
    """

    name: str
    says: Callable[[Pace], str]
    play: Callable[[Stage], Awaitable[None]]
    complain: Callable[[Observed], str]


async def _connect(stage: Stage) -> None:
    await stage.connection.wait_for(State.OPEN, State.FAILED)
    await stage.wait(lambda: bool(stage.logs.sessions[SECOND]))


async def _cut(stage: Stage) -> None:
    for proxy in stage.proxies:
        proxy.cut()
    await stage.wait_lost()


async def _reset(stage: Stage) -> None:
    for proxy in stage.proxies:
        proxy.reset()
    await stage.wait_lost()


async def _refuse(stage: Stage) -> None:
    stage.network = Network(says="connection refused", near=BROKEN)
    for proxy in stage.proxies:
        proxy.refuse()
        proxy.cut()
    await anyio.sleep(stage.pace.refuse)


async def _freeze(stage: Stage) -> None:
    stage.network = Network(says="half-open: nothing passes", near="┈┈┈┈┈┈", far="┈┈┈┈┈┈")
    for proxy in stage.proxies:
        proxy.freeze()
    await anyio.sleep(stage.pace.freeze)


async def _slow(stage: Stage) -> None:
    pace = stage.pace
    says = f"{pace.latency:g} s late, {pace.bandwidth:g} bytes/s"
    stage.network = Network(says=says, near="╍╍╍╍╍╍", far="╍╍╍╍╍╍")
    for proxy in stage.proxies:
        proxy.slow(latency=pace.latency, bandwidth=pace.bandwidth)
    await anyio.sleep(pace.slow)


async def _restart(stage: Stage) -> None:
    stage.network = Network(says="the server restarts", far=BROKEN)
    await stage.stop(stage.server)
    await anyio.sleep(stage.pace.down)
    await stage.start_server()
    await stage.wait_lost()


async def _drop(stage: Stage) -> None:
    stage.network = Network(says="accepts, and drops", near=BROKEN)
    for proxy in stage.proxies:
        proxy.drop_new()
        proxy.cut()
    await anyio.sleep(stage.pace.drop)


async def _kill_server(stage: Stage) -> None:
    stage.network = Network(says="the server is dead", far=BROKEN)
    stage.tell(f"server: process {stage.server.pid} is killed")
    stage.server.kill()
    await stage.wait_lost()
    await anyio.sleep(stage.pace.down)
    await stage.start_server()


async def _kill_client(stage: Stage) -> None:
    """Once in the midst of its work, and once with messages that nobody else has."""
    sent, proxy = stage.logs.traffic[SECOND].up, stage.proxies[1]
    stage.network = Network(says=f"fine, but {SECOND} is dead")
    stage.tell(f"{SECOND}: process {stage.second.pid} is killed")
    stage.second.kill()
    await anyio.sleep(stage.pace.down)
    stage.second.start()
    await stage.wait_second()
    stage.network = Network(says=f"fine, but not for {SECOND}")
    proxy.refuse()
    proxy.cut()
    await stage.wait(lambda: sent.awaited >= stage.pace.unsent)
    pid = stage.second.pid
    stage.second.kill()
    stage.read()
    text = f"{SECOND}: process {pid} is killed, with {sent.awaited} messages that nobody else has"
    stage.tell(text)
    await anyio.sleep(stage.pace.down)
    proxy.heal()
    stage.second.start()
    await stage.wait_second()


async def _close(stage: Stage) -> None:
    await stage.settle()
    await stage.end_sessions()


STEPS: Final = (
    Step(
        name="connect",
        says=lambda _: "both clients begin a session, each through a proxy",
        play=_connect,
        complain=is_connected,
    ),
    Step(
        name="cut",
        says=lambda _: "the proxy ends the link in an orderly way, with FIN",
        play=_cut,
        complain=is_lost_and_back,
    ),
    Step(
        name="reset",
        says=lambda _: "the proxy resets the link, with RST",
        play=_reset,
        complain=is_lost_and_back,
    ),
    Step(
        name="refuse",
        says=lambda pace: f"the link is cut, and connections are refused for {pace.refuse:g} s",
        play=_refuse,
        complain=is_refused,
    ),
    Step(
        name="freeze",
        says=lambda pace: f"half-open: for {pace.freeze:g} s nothing passes, nothing is closed",
        play=_freeze,
        complain=is_found_silent,
    ),
    Step(
        name="slow",
        says=lambda pace: f"for {pace.slow:g} s the network is slow, which is no reason to leave",
        play=_slow,
        complain=is_only_slow,
    ),
    Step(
        name="restart",
        says=lambda pace: f"the server sends all away, stops, and is back after {pace.down:g} s",
        play=_restart,
        complain=is_restarted,
    ),
    Step(
        name="drop",
        says=lambda pace: f"for {pace.drop:g} s each connection is accepted, and dropped",
        play=_drop,
        complain=is_no_hot_loop,
    ),
    Step(
        name="kill-server",
        says=lambda pace: f"SIGKILL for the server; the next one comes after {pace.down:g} s",
        play=_kill_server,
        complain=is_lost_and_back,
    ),
    Step(
        name="kill-client",
        says=lambda _: f"SIGKILL for {SECOND}, at work and with messages unsent",
        play=_kill_client,
        complain=is_undisturbed,
    ),
    Step(
        name="close",
        says=lambda _: "all that was said arrives, and the clients end their sessions",
        play=_close,
        complain=is_closed,
    ),
)
