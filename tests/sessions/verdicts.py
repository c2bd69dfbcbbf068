"""What is asked of a world when it is over."""

from __future__ import annotations

from statews import ReceiptState

from .applications import Client
from .world import World

__all__ = [
    "check_all_arrived",
    "check_no_gaps",
    "check_no_resets",
    "check_receipts",
    "check_up_arrived",
]


def check_no_resets(world: World) -> None:
    """There was no reason for one."""
    for client in world.clients.values():
        if client.resets:
            client.up.complain(f"{client.resets} resets")


def check_no_gaps(world: World) -> None:
    """Nor for a gap."""
    for client in world.clients.values():
        for ledger in (client.up, client.down):
            if any(ledger.lost.values()):
                ledger.complain(f"gaps were reported: {dict(ledger.lost)}")


def check_all_arrived(world: World) -> None:
    """What was accepted has arrived, unless the client has closed before.

    A welcome that is lost leaves a session behind that no client knows of.
    """
    check_up_arrived(world)
    for client in world.clients.values():
        sessions = client.down.sessions
        accepted = {number for number, sid in sessions.items() if sid == client.session}
        missing = accepted - client.down.seen
        if missing and world.plan.closes_at is None:
            client.down.complain(f"{sorted(missing)} did not come")


def check_up_arrived(world: World) -> None:
    """Likewise for what the client has sent, which is not bound to a session."""
    for client in world.clients.values():
        missing = client.up.accepted - client.up.seen
        if missing and world.plan.closes_at is None:
            client.up.complain(f"{sorted(missing)} did not come")


def check_receipts(world: World) -> None:
    """No receipt lies, and none is left open; what is in doubt and not there is in a gap."""
    plan = world.plan
    is_closed = plan.closes_at is not None or plan.is_ended_at is not None
    for client in world.clients.values():
        _check_receipts(client, is_closed=is_closed)


def _check_receipts(client: Client, *, is_closed: bool) -> None:
    doubtful = 0
    for number, receipt in client.receipts.items():
        has_come = number in client.up.seen
        match receipt.state:
            case ReceiptState.ACKNOWLEDGED:
                is_right = has_come
            case ReceiptState.DROPPED | ReceiptState.EXPIRED:
                is_right = not has_come and not receipt.attempts
            case ReceiptState.IN_DOUBT:
                doubtful += not has_come
                is_right = receipt.attempts > 0
            case _:
                is_right = False
        if not is_right:
            client.up.complain(
                f"message {number} {'came' if has_come else 'is missing'}: {receipt}"
            )
    gone = sum(map(len, client.up.lost.values()))
    if not is_closed and not client.resets and gone != doubtful:
        client.up.complain(f"{gone} messages are in gaps, and {doubtful} are in doubt and missing")
