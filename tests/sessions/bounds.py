"""What must hold at every moment: buffers within their bounds, and no acknowledgement early."""

from __future__ import annotations

from typing import TYPE_CHECKING

from statews import Connection, Server, Window
from statews.protocol.session import Cursor, Log

from .applications import Client
from .ledger import Ledger
from .plans import Plan

if TYPE_CHECKING:
    from statews.client.driver import Driver
    from statews.server import Session

__all__ = ["check_client", "check_server", "check_sum"]

CONTROL = 8192  # bytes of control frames and of acknowledgements, which nobody counts
LONGEST = 70_100  # bytes of a message, with its header


def check_log(log: Log, ledger: Ledger, *, messages: int, size_bytes: int) -> None:
    """What is kept for the peer."""
    size = log.size_bytes
    if log.confirmed > log.acknowledged:
        ledger.complain(f"{log.confirmed} is confirmed, and {log.acknowledged} acknowledged")
    if len(log) > messages or (size > size_bytes and len(log) > 1):
        ledger.complain(f"the log holds {len(log)} messages of {size} bytes")


def check_cursor(cursor: Cursor, ledger: Ledger, window: Window, held: list[str | bytes]) -> None:
    """What waits for the application."""
    size = sum(map(len, held))
    _ = cursor.rx  # what was handled is counted now
    if len(held) != cursor._held or size != cursor._held_bytes:
        ledger.complain(f"{held} are held, and {cursor._held} of {cursor._held_bytes} counted")
    if len(held) > max(1, window.messages) or (size > window.size_bytes and len(held) > 1):
        ledger.complain(f"{len(held)} messages of {size} bytes wait, more than {window}")


def check_client(connection: Connection, plan: Plan, client: Client) -> None:
    """The buffers of a client, and what it takes for acknowledged."""
    driver = connection._driver
    session = driver.session
    assert session is not None
    log, outbox = session.peer.log, plan.outbox
    check_log(log, client.up, messages=outbox.messages, size_bytes=outbox.size_bytes)
    check_cursor(session.peer.cursor, client.down, plan.window, held_by_client(driver))
    sid = session.ticket.sid
    if sid is not None and log.confirmed > client.up.handled[sid]:
        client.up.complain(
            f"{log.confirmed} is acknowledged in {sid}, {client.up.handled[sid]} is handled"
        )
    link = driver.link
    if link is not None and link._outgoing.size > plan.outgoing_bytes + LONGEST + CONTROL:
        client.up.complain(f"{link._outgoing.size} bytes wait for the transport")


def held_by_client(driver: Driver) -> list[str | bytes]:
    """The messages of the present session that wait, and the one that is being handled."""
    assert driver.sender.intake is not None
    assert driver.session is not None
    feed, progress = driver.sender.intake.feed, driver.session.progress
    held: list[str | bytes] = []
    for each in (*feed._items, feed._last):
        if isinstance(each, (str, bytes)):
            held += [each] if feed._session is progress else []
        elif each is not None and each.handler is progress and isinstance(each.mark, (str, bytes)):
            held.append(each.mark)
    return held


def check_server(server: Server, plan: Plan, clients: dict[str, Client]) -> None:
    """The buffers of a server, and what it takes for acknowledged."""
    for session in server.sessions.values():
        client = clients[session.principal or ""]
        if session.is_asleep:  # to look at its log would wake it
            check_asleep(session, client)
            continue
        log, limits = session.peer.log, plan.limits
        check_log(log, client.down, messages=limits.messages, size_bytes=limits.size_bytes)
        check_cursor(session.peer.cursor, client.up, limits.window, held_by_server(session))
        if log.confirmed > client.down.handled[session.id]:
            client.down.complain(
                f"{log.confirmed} is acknowledged in {session.id}, "
                f"{client.down.handled[session.id]} is handled"
            )


def check_asleep(session: Session, client: Client) -> None:
    """Nothing of it waits for anybody."""
    if session.sent > client.down.handled[session.id]:
        client.down.complain(f"{session.sent} is not handled, and {session} is asleep")
    if session.is_attached or session.counted_bytes:
        client.down.complain(f"{session} is asleep, and should not be")


def check_sum(server: Server, ledger: Ledger) -> None:
    """What the server counts of the logs."""
    for session in server.sessions.values():
        size = 0 if session.is_asleep else session.peer.log.size_bytes
        if size != session.counted_bytes:
            ledger.complain(f"{session} holds {size} bytes, and counts {session.counted_bytes}")
    counted = sum(session.counted_bytes for session in server.sessions.values())
    if counted != server.statistics().size_bytes:
        ledger.complain(f"the logs come to {counted} bytes: {server.statistics()}")


def held_by_server(session: Session) -> list[str | bytes]:
    """The messages that wait, and the one that is being handled."""
    inbox = session.inbox
    items = [*(inbox._items or ()), *([] if inbox._last is None else [inbox._last])]
    return [each for each in items if isinstance(each, (str, bytes))]
