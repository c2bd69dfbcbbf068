"""Where a user begins."""

from __future__ import annotations

import random as _random
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, TypeGuard, TypeVar, cast

from ..errors import UsageError
from ..policy import Policy
from ..protocol.envelope import SUBPROTOCOL
from ..protocol.sync import Strategy
from ..protocol.verdict import decide as decide_by_default
from ..transport.dial import Dialing
from ..transport.proxy import FROM_ENVIRONMENT
from .connection import Connection
from .settings import Settings

if TYPE_CHECKING:
    import ssl as _ssl
    from collections.abc import Callable, Sequence

    from ..protocol.verdict import Decide
    from ..store.base import OutboxStore
    from ..transport.proxy import ProxySetting
    from .resume import Resume
    from .settings import Endpoint, Headers, Hook

__all__ = ["connect"]

DEFAULT_POLICY: Final = Policy()

Item = TypeVar("Item")


def connect(
    endpoint: Endpoint | Sequence[Endpoint],
    *,
    policy: Policy = DEFAULT_POLICY,
    headers: Headers | None = None,
    subprotocols: Sequence[str] = (),
    on_open: Hook | Sequence[Hook] = (),
    session: Resume | None = None,
    sync: Strategy | Sequence[Strategy] = (),
    store: OutboxStore | None = None,
    ssl: _ssl.SSLContext | None = None,
    server_hostname: str | None = None,
    proxy: ProxySetting = FROM_ENVIRONMENT,
    decide: Decide = decide_by_default,
    wait: bool = True,
    random: Callable[[], float] = _random.random,
) -> Connection:
    """A connection to a WebSocket server that comes back when its link is lost.

    Use it as `async with connect(...) as connection`. Nothing is dialled before it is entered.

    Args:
        endpoint: a URL (`ws://`, `wss://`, `ws+unix://`), a `Target`, an async callable that gives
            one for each `Attempt`, or several of these, tried in turn.
        policy: how the connection lives.
        headers: for the opening handshake of every attempt, or an async callable that gives them.
        subprotocols: offered, the preferred first (RFC 6455 section 1.9).
        on_open: run on each new link before it counts as open, to authenticate or subscribe. It
            gets the `Link`, and may send and receive on it. If it fails, the attempt has failed.
        session: have a session that outlives its links, with a server that speaks `statews.v1`.
            On its links the `on_open` hooks do not run, for the session keeps what they would
            restore, and a new one begins with `Resume.first`; `sync` fetches only what the
            session has lost.
        sync: brings streams of messages up to date on each new link: `Latest`, `Since`, `After`.
            Each is for one connection at a time, and goes on with the next where it was.
        store: keeps the outbox and the positions of `sync` beyond this process; it calls for
            `Delivery.AT_LEAST_ONCE`.
        ssl: for `wss://`; None: the system's roots, and the host name checked.
        server_hostname: the name the certificate must have; None: the URL's.
        proxy: `http://`, `https://`, `socks5://` or `socks5h://`, None for no proxy, or by
            default what the environment says.
        decide: what a loss means: see `statews.decide`.
        wait: whether entering waits for `open`.
        random: draws from [0, 1), for the jitter.

    Raises:
        UsageError: at once, for a URL or an option that is wrong.
    """
    if isinstance(subprotocols, str):
        message = (
            f"expected subprotocols to be a sequence of names, got the string {subprotocols!r}"
        )
        raise UsageError(message)
    names: tuple[str, ...] = _several(subprotocols)
    settings = Settings(
        endpoints=_several(endpoint),
        headers={} if headers is None else headers,
        hooks=_several(on_open),
        dialing=Dialing(
            policy=policy,
            subprotocols=(*([] if session is None else [SUBPROTOCOL]), *names),
            ssl=ssl,
            server_hostname=server_hostname,
            proxy=proxy,
        ),
        strategies=_several(sync),
        session=session,
        store=store,
        decide=decide,
        random=random,
    )
    return Connection(settings, wait=wait)


def _several(given: Item | Sequence[Item]) -> tuple[Item, ...]:
    """What was given, one or several. Whether it is right, `Settings` looks at."""
    return tuple(given) if _is_several(given) else (cast("Item", given),)


def _is_several(given: Item | Sequence[Item]) -> TypeGuard[Sequence[Item]]:
    is_one = isinstance(given, (str, bytes)) or callable(given)
    return not is_one and isinstance(given, Iterable)
