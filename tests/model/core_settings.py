"""What the peers of real cores were asked to be."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

from statews.policy import AtLimit, Delivery, Outbox
from statews.protocol.session import Window

__all__ = ["Settings"]

BYTES: Final = (25, 10_000, 10_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the peers were asked to be.

    Attributes:
        client_window: how much the client may have unhandled.
        server_window: the same of the server.
        outbox: of the client.
        log: of the server.
        room: how many frames a link takes before a writer stops.
        is_client_durable: whether the client has a disk.
        is_server_durable: whether the server has one.
    """

    client_window: Window = Window(4)  # noqa: RUF009 - it is frozen
    server_window: Window = Window(4)  # noqa: RUF009
    outbox: Outbox = Outbox(delivery=Delivery.AT_LEAST_ONCE)  # noqa: RUF009
    log: Outbox = Outbox(  # noqa: RUF009
        delivery=Delivery.AT_LEAST_ONCE, at_limit=AtLimit.DROP_OLDEST
    )
    room: int = 8
    is_client_durable: bool = False
    is_server_durable: bool = False

    @staticmethod
    def draw(
        random: Random, *, is_client_durable: bool, is_server_durable: bool, is_tight: bool
    ) -> Settings:
        """Some of them, most of them small; if tight, all as small as can be."""

        def window() -> Window:
            return Window(random.randint(1, 2 if is_tight else 4), random.choice(BYTES))

        def outbox(*at_limits: AtLimit) -> Outbox:
            return Outbox(
                messages=random.choice((1, 2, 3) if is_tight else (1, 2, 3, 5, 100)),
                size_bytes=random.choice(BYTES),
                at_limit=random.choice(at_limits),
                delivery=Delivery.AT_LEAST_ONCE,
            )

        return Settings(
            client_window=window(),
            server_window=window(),
            outbox=outbox(AtLimit.DROP_OLDEST, AtLimit.DROP_NEWEST, AtLimit.WAIT),
            log=outbox(AtLimit.DROP_OLDEST),
            room=random.choice((1,) if is_tight else (1, 2, 3, 8)),
            is_client_durable=is_client_durable,
            is_server_durable=is_server_durable,
        )
