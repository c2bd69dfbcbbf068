"""What the server's steps share: its ends of the links, and the session's log."""

from __future__ import annotations

from .invariants import check_server_may_handle
from .state import Greeting, Serving, SessionRecord, State, ToClient, after, chain_at

__all__ = ["handled_by_server", "to_client", "trimmed", "with_end", "without_end"]


def with_end(state: State, new: Greeting | Serving) -> State:
    """The state with `new` in place of the end of the same number."""
    return state._replace(
        ends=tuple(new if end.number == new.number else end for end in state.ends)
    )


def without_end(state: State, number: int) -> State:
    """The state where the server has closed a link; what is under way to it is lost."""
    return state._replace(ends=tuple(end for end in state.ends if end.number != number))


def to_client(state: State, number: int, *frames: ToClient) -> State:
    """The state with frames under way; they are lost where the client has left the link."""
    client = state.client
    if client.link is None or client.link.number != number:
        return state
    link = client.link._replace(inbox=client.link.inbox + frames)
    return state._replace(client=client._replace(link=link))


def handled_by_server(state: State, content: int) -> State:
    """The state where the server's application has handled a message."""
    check_server_may_handle(state, content)
    seen = (*state.facts.handled_by_server, content)
    return state._replace(facts=state.facts._replace(handled_by_server=seen))


def trimmed(session: SessionRecord, handled: int) -> SessionRecord:
    """The session whose log no longer holds what the client handled."""
    session = session._replace(acked=max(session.acked, handled))
    chain = chain_at(session, handled)
    if handled <= session.trimmed or chain is None:
        return session
    return session._replace(log=after(session.log, handled), trimmed=handled, trimmed_chain=chain)
