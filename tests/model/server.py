"""The server's steps: each is the state after it, or None where it cannot happen.

A step of one link takes the server's end of it as well.
"""

from __future__ import annotations

from typing_extensions import assert_never

from .bounds import Handler
from .ends import handled_by_server, to_client, trimmed, with_end, without_end
from .hello import answer_hello, confirm_token
from .mutations import Mutation, Rules
from .state import Ack, Dropped, Greeting, Hello, Message, Reliable, Serving, State

__all__ = ["server_commits", "server_produces", "server_receives", "server_sends"]


def server_produces(state: State, rules: Rules) -> State | None:
    """A message is in the log before it is sent; the log drops its oldest beyond its limit."""
    facts, session, bounds = state.facts, state.session, rules.bounds
    if facts.server_produced == bounds.server_messages:
        return None
    content = facts.server_produced + 1
    message = Message(session.assigned + 1, content, (*session.assigned_chain, content))
    session = session._replace(
        log=(*session.log, message), assigned=message.seq, assigned_chain=message.chain
    )
    if len(session.log) > bounds.log_messages:
        oldest, *log = session.log
        session = session._replace(log=tuple(log), trimmed=oldest.seq, trimmed_chain=oldest.chain)
    return state._replace(session=session, facts=facts._replace(server_produced=content))


def server_receives(state: State, rules: Rules, end: Greeting | Serving) -> State | None:
    """The frames of a link arrive in order; the next one waits for the handler."""
    if not end.inbox or (isinstance(end, Serving) and end.handling is not None):
        return None
    frame, *rest = end.inbox
    end = end._replace(inbox=tuple(rest))
    if isinstance(frame, Hello):
        assert isinstance(end, Greeting), "a hello comes first, and once"
        return answer_hello(with_end(state, end), rules, end, frame)
    assert isinstance(end, Serving), "no other frame comes before the hello"
    state = confirm_token(with_end(state, end), end)
    match frame:
        case Ack():
            return _acked(state, rules, end, frame.upto)
        case Reliable():
            return _received(state, rules, end, frame.message)
        case _:
            assert_never(frame)


def server_commits(state: State, rules: Rules, end: Greeting | Serving) -> State | None:
    """The position moves once the handler has ended, under the fence, and is acknowledged."""
    if not isinstance(end, Serving) or end.handling is None:
        return None
    message, is_transactional = end.handling, rules.bounds.handler is Handler.TRANSACTIONAL
    if _is_fenced_off(state, rules, end):  # the effect of a plain handler stands all the same
        facts = state.facts if is_transactional else state.facts._replace(may_repeat=True)
        return without_end(state._replace(facts=facts), end.number)
    if rules.mutation is Mutation.ACK_ON_RECEIPT:
        return with_end(handled_by_server(state, message.content), end._replace(handling=None))
    if is_transactional:
        state = handled_by_server(state, message.content)
    session = state.session._replace(handled=message.seq, handled_chain=message.chain)
    end = end._replace(handled=message.seq, handling=None)
    return to_client(with_end(state._replace(session=session), end), end.number, Ack(message.seq))


def server_sends(state: State, rules: Rules, end: Greeting | Serving) -> State | None:
    """Messages go in order, within the client's window; a hole in the log is announced at once.

    That does not wait for the window: the client may have nothing more to acknowledge. A link
    whose log was replaced under it sees that by the chain, and closes.
    """
    if not isinstance(end, Serving):
        return None
    message = next((kept for kept in state.session.log if kept.seq > end.sent), None)
    if message is None:
        return None
    before, is_hole = message.chain[:-1], message.seq > end.sent + 1
    if is_hole and rules.mutation is not Mutation.NO_GAP_NOTICE:
        end = end._replace(sent=message.seq - 1, sent_chain=before)
        return to_client(with_end(state, end), end.number, Dropped(end.sent, before))
    if message.seq - state.session.acked > rules.bounds.window:
        return None
    if not is_hole and rules.mutation is not Mutation.NO_CHAIN and before != end.sent_chain:
        return without_end(state, end.number)
    state = to_client(state, end.number, Reliable(message))
    return with_end(state, end._replace(sent=message.seq, sent_chain=message.chain))


def _acked(state: State, rules: Rules, end: Serving, upto: int) -> State:
    """An ack trims the log; the ack of an older owner, or of what was never sent, closes."""
    if _is_fenced_off(state, rules, end) or upto > state.session.assigned:
        return without_end(state, end.number)
    return state._replace(session=trimmed(state.session, upto))


def _received(state: State, rules: Rules, end: Serving, message: Message) -> State:
    """The next message goes to the handler; any other one is a protocol error."""
    if message.seq != end.handled + 1:
        return without_end(state, end.number)
    if rules.mutation is Mutation.ACK_ON_RECEIPT:
        session = state.session._replace(handled=message.seq, handled_chain=message.chain)
        state = to_client(state._replace(session=session), end.number, Ack(message.seq))
        end = end._replace(handled=message.seq)
    elif rules.bounds.handler is Handler.PLAIN:  # its effect comes first, the commit later
        state = handled_by_server(state, message.content)
    return with_end(state, end._replace(handling=message))


def _is_fenced_off(state: State, rules: Rules, end: Serving) -> bool:
    return rules.mutation is not Mutation.NO_FENCE and end.fence != state.session.fence
