"""What a connection was asked to be: everything `connect` was given, checked once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from inspect import isawaitable
from ssl import SSLContext
from types import NoneType
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from anyio.lowlevel import checkpoint_if_cancelled

from ..errors import HookError, UsageError
from ..policy import AtLimit, Delivery, Policy
from ..protocol.handshake import check_headers, check_subprotocols, parse_url
from ..protocol.sync import Strategy
from ..transport.dial import Dialing, Target, check_target
from ..transport.link import Link
from ..transport.proxy import FromEnvironment, choose_proxy
from .resume import Resume

if TYPE_CHECKING:
    from ..policy import Outbox
    from ..protocol.verdict import Decide
    from ..store.base import OutboxStore

__all__ = ["Attempt", "Endpoint", "Headers", "Hook", "Settings"]

ANYWHERE: Final = "ws://localhost/"
CALLED_OF_A_STORE: Final = ("open", "add", "remove", "save_position", "commit", "close")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What a provider of URLs or headers is told.

    Attributes:
        number: reconnects since the last link that lasted; 0 for a first dial.
        refresh: the credentials given before were refused; cached ones will not do.
        last_error: what ended the attempt or link before; None for the very first.
    """

    number: int
    refresh: bool
    last_error: Exception | None


Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

Endpoint = str | Target | Callable[[Attempt], Awaitable[str | Target]]
Headers = Mapping[str, str] | Callable[[Attempt], Awaitable[Mapping[str, str]]]
Hook = Callable[[Link], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything about a connection that does not change.

    Attributes:
        endpoints: tried in turn, one an attempt.
        headers: for every attempt; a target's own come on top.
        hooks: run on each new link, in order, before it counts as open.
        dialing: what attempts have in common.
        strategies: for the streams that are to be complete across links.
        session: what the session with the server is to be, if there is to be one.
        store: where the outbox outlives the process, if it does.
        decide: what a loss means.
        random: draws from [0, 1), for the jitter.
    """

    endpoints: Sequence[Endpoint]
    headers: Headers
    hooks: Sequence[Hook]
    dialing: Dialing
    strategies: Sequence[Strategy]
    session: Resume | None
    store: OutboxStore | None
    decide: Decide
    random: Callable[[], float]

    def __post_init__(self) -> None:
        self._check_kinds()
        self._check_endpoints()
        self._check_kept()

    def _check_kinds(self) -> None:
        dialing = self.dialing
        proxy_or_none = (str, NoneType, FromEnvironment)
        kinds: list[tuple[str, object, type | tuple[type, ...], str]] = [
            ("policy", dialing.policy, Policy, "a Policy"),
            ("session", self.session, (Resume, NoneType), "a Resume, or None for none"),
            *(("sync", strategy, Strategy, "a Strategy") for strategy in self.strategies),
            ("ssl", dialing.ssl, (SSLContext, NoneType), "an SSLContext, or None"),
            ("server_hostname", dialing.server_hostname, (str, NoneType), "a str, or None"),
            ("proxy", dialing.proxy, proxy_or_none, "a URL, None for no proxy, or left out"),
        ]
        for name, value, kind, right in kinds:
            if isinstance(value, type) or not isinstance(value, kind):
                raise UsageError(f"{name} must be {right}, got {value!r:.200}")
        if not _is_store(self.store):
            text = "store must be an OutboxStore, or None for none"
            raise UsageError(f"{text}, got {self.store!r:.200}")
        calls: list[tuple[str, object]] = [("decide", self.decide), ("random", self.random)]
        for name, value in calls:
            if not callable(value):
                raise UsageError(f"{name} must be a function, got {value!r:.200}")
        for hook in self.hooks:
            if not callable(hook):
                raise UsageError(f"expected on_open to be an async callable, got {hook!r:.200}")

    def _check_endpoints(self) -> None:
        if not self.endpoints:
            raise UsageError("expected at least one URL to connect to, got none")
        for endpoint in self.endpoints:
            if isinstance(endpoint, (str, Target)):
                check_target(_as_target(endpoint))
            elif not callable(endpoint):
                raise UsageError(
                    f"expected a URL, a Target or an async callable, got {endpoint!r:.200}"
                )
        if not callable(self.headers):
            check_headers(self.headers)
        check_subprotocols(self.dialing.subprotocols)
        if isinstance(self.dialing.proxy, str):
            choose_proxy(self.dialing.proxy, parse_url(ANYWHERE))

    def _check_kept(self) -> None:
        names = [strategy.name for strategy in self.strategies]
        if len(set(names)) < len(names):
            raise UsageError(
                f"the strategies of a connection need names of their own, got {names}"
            )
        if len({id(part) for part in self.all_strategies}) < len(self.all_strategies):
            raise UsageError("a strategy cannot be in two places; make one for each")
        if self.session is not None and self.outbox.acknowledged is not None:
            raise UsageError("a session has acknowledgements of its own: leave Acknowledged out")
        if self.has_fixed_order and (
            self.outbox.time_to_live is not None or self.outbox.at_limit is AtLimit.CONFLATE
        ):
            raise UsageError(
                "what is stored of a session is numbered: it neither expires nor is replaced"
            )
        if self.store is not None and self.outbox.delivery is not Delivery.AT_LEAST_ONCE:
            raise UsageError(
                "what is stored is sent again after a crash: a store calls for a policy whose"
                " outbox.delivery is Delivery.AT_LEAST_ONCE"
            )

    @property
    def outbox(self) -> Outbox:
        """What is kept of the messages that are sent."""
        return self.dialing.policy.outbox

    @property
    def all_strategies(self) -> Sequence[Strategy]:
        """The strategies, and those that they fall back on."""
        return [part for strategy in self.strategies for part in strategy.parts]

    @property
    def has_fixed_order(self) -> bool:
        """Whether a message has a number for good as soon as it is sent."""
        return self.session is not None and self.store is not None

    @property
    def needs_intake(self) -> bool:
        """Whether what comes in has to be looked at before the application gets it."""
        heartbeat = self.dialing.policy.heartbeat
        return (
            bool(self.strategies)
            or self.session is not None
            or self.outbox.acknowledged is not None
            or (heartbeat is not None and heartbeat.message is not None)
        )

    async def target(self, endpoint: Endpoint, attempt: Attempt) -> Target:
        """Where this attempt goes.

        Raises:
            HookError: a provider failed; its exception is the cause.
            UsageError: a provider gave something that is no target.
        """
        if isinstance(endpoint, (str, Target)):
            target = _as_target(endpoint)
        else:
            target = _as_target(await provide("the URL's provider", endpoint, attempt))
        headers = self.headers
        if not isinstance(headers, Mapping):
            headers = await provide("the headers' provider", headers, attempt)
            check_headers(headers)
        return replace(target, headers={**headers, **target.headers})


def _is_store(value: object) -> bool:
    """Whether it is None, or has what a client calls of an `OutboxStore`."""
    has_all = all(callable(getattr(value, name, None)) for name in CALLED_OF_A_STORE)
    return value is None or (has_all and not isinstance(value, type))


def _as_target(value: object) -> Target:
    url: object = value.url if isinstance(value, Target) else value
    if not isinstance(url, str):
        raise UsageError(f"expected a URL or a Target of one, got {type(url).__name__}")
    target = value if isinstance(value, Target) else Target(url)
    check_headers(target.headers)
    return target


def call(
    what: str,
    function: Callable[Arguments, Result],
    *args: Arguments.args,
    **kwargs: Arguments.kwargs,
) -> Result:
    """The result of a function of the user's.

    Raises:
        HookError: it raised; the exception is the cause.
    """
    try:
        return function(*args, **kwargs)
    except Exception as error:
        raise HookError(f"{what} failed with {type(error).__name__}: {error}") from error


async def provide(
    what: str,
    function: Callable[Arguments, Awaitable[Result]],
    *args: Arguments.args,
    **kwargs: Arguments.kwargs,
) -> Result:
    """The result of a callable of the user's, its failure translated.

    Raises:
        HookError: it raised; the exception is the cause.
        UsageError: it is not an async function.
    """
    try:
        result = function(*args, **kwargs)
        if isawaitable(result):
            given = await result
            await checkpoint_if_cancelled()  # it may have swallowed that
            return given
    except UsageError:
        raise
    except Exception as error:
        raise HookError(f"{what} failed with {type(error).__name__}: {error}") from error
    except asyncio.CancelledError as error:
        await checkpoint_if_cancelled()
        raise HookError(f"{what} waited for what somebody else has cancelled") from error
    raise UsageError(f"{what} must be an async function, it returned {result!r}")
