"""The faults: each is the state after it, or None where it cannot happen."""

from __future__ import annotations

from .bounds import Handler
from .mutations import Mutation, Rules
from .state import Facts, Serving, State

__all__ = [
    "client_backs_up",
    "client_crashes",
    "client_restores",
    "link_drops",
    "link_drops_frames",
    "server_crashes",
    "store_goes_back",
    "store_is_copied",
]


def link_drops(state: State, rules: Rules) -> State | None:
    """The client loses its link; the server does not notice, and reads what was under way."""
    client, spent = state.client, state.spent
    if client.link is None or spent.drops >= rules.bounds.drops:
        return None
    return state._replace(
        client=client._replace(link=None), spent=spent._replace(drops=spent.drops + 1)
    )


def link_drops_frames(state: State, rules: Rules) -> State | None:
    """The client loses its link, and the network what was under way to the server."""
    dropped = link_drops(state, rules)
    if dropped is None or state.client.link is None:
        return None
    number = state.client.link.number
    return dropped._replace(
        ends=tuple(end._replace(inbox=()) if end.number == number else end for end in dropped.ends)
    )


def client_crashes(state: State, rules: Rules) -> State | None:
    """The client's process dies and starts again with what is on disk."""
    client, spent = state.client, state.spent
    if spent.client_crashes >= rules.bounds.client_crashes:
        return None
    record = client.record
    if rules.mutation is Mutation.VOLATILE_OUTBOX:
        record = record._replace(outbox=())
    return state._replace(
        client=client._replace(record=record, link=None, unsaved_token=None),
        spent=spent._replace(client_crashes=spent.client_crashes + 1),
    )


def client_backs_up(state: State, rules: Rules) -> State | None:
    """The client's disk is copied, once, while nothing in its outbox waits for an ack."""
    if state.backup is not None or state.client.record.outbox:
        return None
    if state.spent.outbox_restores >= rules.bounds.outbox_restores:
        return None
    return state._replace(backup=state.client.record)


def client_restores(state: State, rules: Rules) -> State | None:
    """The client's disk goes back to its backup, and forgets what was acknowledged since."""
    client, spent = state.client, state.spent
    if state.backup is None or client.record.outbox:
        return None
    if spent.outbox_restores >= rules.bounds.outbox_restores:
        return None
    return state._replace(
        client=client._replace(record=state.backup, link=None, unsaved_token=None, is_reset=False),
        spent=spent._replace(outbox_restores=spent.outbox_restores + 1),
    )


def server_crashes(state: State, rules: Rules) -> State | None:
    """The server's processes die, with their links; the store survives."""
    spent = state.spent
    if not state.ends or spent.server_crashes >= rules.bounds.server_crashes:
        return None
    return state._replace(
        ends=(),
        facts=_cut_off(state, rules),
        spent=spent._replace(server_crashes=spent.server_crashes + 1),
    )


def store_is_copied(state: State, rules: Rules) -> State | None:
    """A replica holds the store as it is now, once."""
    if state.snapshot is not None:
        return None
    if state.spent.store_regressions >= rules.bounds.store_regressions:
        return None
    return state._replace(snapshot=state.session)


def store_goes_back(state: State, rules: Rules) -> State | None:
    """The replica is promoted, with a data-set id of its own; every link closes."""
    spent = state.spent
    if state.snapshot is None or spent.store_regressions >= rules.bounds.store_regressions:
        return None
    return state._replace(
        session=state.snapshot,
        ends=(),
        spent=spent._replace(store_regressions=spent.store_regressions + 1),
    )


def _cut_off(state: State, rules: Rules) -> Facts:
    """A plain handler that dies before its commit is run again for the same message."""
    is_cut_off = rules.bounds.handler is Handler.PLAIN and any(
        isinstance(end, Serving) and end.handling is not None for end in state.ends
    )
    return state.facts._replace(may_repeat=True) if is_cut_off else state.facts
