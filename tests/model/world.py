"""A client and a server of real cores, and who watches them."""

from __future__ import annotations

from typing import Final

from statews.policy import Outbox
from statews.protocol.plain import Message
from statews.protocol.session import Window

from .core_client import Client, Disk
from .core_server import Record, Served, Server
from .core_settings import Settings
from .cores import Side
from .observer import Breach, Observer, Promise, Way

__all__ = ["World"]

PADDING: Final = (0, 3, 1, 17, 0, 6)  # bytes


class World:
    """Both peers, and who sees all that happens to them.

    Attributes:
        client_copy: of its disk, if there is one.
        store_copy: of the server's disk, if there is one.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.observer = Observer()
        self.client = self.new_client()
        self.server = Server(
            settings.log,
            settings.server_window,
            self.observer,
            is_durable=settings.is_server_durable,
        )
        self.now = 0.0
        self._sent = dict.fromkeys(Way, 0)
        self.client_copy: Disk | None = None
        self.store_copy: dict[str, Record] | None = None

    def check_rest(self) -> None:
        """Everything has arrived, or somebody was told that it will not.

        Raises:
            Breach: it is not so.
        """
        for side in (self.client, self.served):
            if side is None or side.talk is None:
                raise Breach(Promise.ARRIVES, "there is no link")
            waiting = [entry.message for entry in side.peer.log.entries]
            if waiting:
                raise Breach(Promise.ARRIVES, f"not {side.way.other.value}: {waiting}")
        self.observer.check_all_told()

    def look(self) -> None:
        """See what has become of everything.

        Raises:
            Breach: it should not have.
        """
        client, served = self.client, self.served
        self.observer.look(Way.UP, client.ticket.sid, client.peer.log)
        self._check_held(client, self.settings.client_window)
        self._check_log(client, self.settings.outbox)
        if served is not None:
            self.observer.look(Way.DOWN, served.sid, served.peer.log)
            self._check_held(served, self.settings.server_window)
            self._check_log(served, self.settings.log)

    def _check_held(self, side: Side, window: Window) -> None:
        held = side.application.held
        self.observer.check_bounds(side.way, len(held), window.messages, "messages")
        if len(held) > 1:
            size = sum(map(len, held))
            self.observer.check_bounds(side.way, size, window.size_bytes, "bytes")

    def _check_log(self, side: Side, limits: Outbox) -> None:
        log, way = side.peer.log, side.way.other
        self.observer.check_bounds(way, len(log), limits.messages, "messages in the log")
        if len(log) > 1:
            size, most = log.size_bytes, limits.size_bytes
            self.observer.check_bounds(way, size, most, "bytes in the log")

    @property
    def served(self) -> Served | None:
        """The session that the client knows."""
        return self.server.sessions.get(self.client.ticket.sid or "")

    def message(self, way: Way) -> Message:
        """The next message of an application."""
        self._sent[way] += 1
        count = self._sent[way]
        text = f"{count}.{'x' * PADDING[count % len(PADDING)]}"
        return text.encode() if count % 3 == 0 else text

    def new_client(self) -> Client:
        """One that knows of nothing yet."""
        settings = self.settings
        return Client(
            settings.outbox,
            settings.client_window,
            self.observer,
            is_durable=settings.is_client_durable,
        )
