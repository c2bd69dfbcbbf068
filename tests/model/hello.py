"""How the server answers a hello."""

from __future__ import annotations

from .bounds import Handler, Server
from .ends import to_client, trimmed, with_end, without_end
from .invariants import check_token_is_live
from .mutations import Mutation, Rules
from .state import (
    Facts,
    Greeting,
    Hello,
    Reset,
    Serving,
    SessionRecord,
    State,
    Welcome,
    chain_at,
    first_kept,
)

__all__ = ["answer_hello", "confirm_token"]


def answer_hello(state: State, rules: Rules, end: Greeting, hello: Hello) -> State | None:
    """The session goes on, or the hello is refused and leaves it untouched.

    None while the handler of an older link runs: it is joined before a newer link takes over.
    """
    session = state.session
    is_joined = rules.bounds.server is Server.ONE_PROCESS
    if is_joined and rules.mutation is not Mutation.NO_JOIN and _is_handling(state):
        return None
    if not _is_known(session, state.spent.store_regressions, rules, hello):
        return _refused(state, end)
    check_token_is_live(state, hello.token)
    if rules.mutation is not Mutation.NO_CHAIN and not _fits(session, hello):
        return _refused(state, end)
    return _accepted(state, rules, end, hello)


def confirm_token(state: State, end: Serving) -> State:
    """The first frame on the new link proves that the client has the new token: the old goes."""
    session = state.session
    if session.next_token is None or end.fence != session.fence:
        return state
    return state._replace(
        session=session._replace(token=session.next_token, next_token=None),
        facts=_retire(state.facts, session.token),
    )


def _is_handling(state: State) -> bool:
    return any(isinstance(end, Serving) and end.handling is not None for end in state.ends)


def _is_known(session: SessionRecord, data_set: int, rules: Rules, hello: Hello) -> bool:
    """Whether attempt, data set and token, in this order, are those of the session."""
    if rules.mutation is not Mutation.NO_ATTEMPT and hello.attempt <= session.attempt:
        return False
    if rules.mutation is not Mutation.NO_DATASET and data_set != session.data_set:
        return False
    return hello.token in (session.token, session.next_token)


def _fits(session: SessionRecord, hello: Hello) -> bool:
    """Whether each peer's position is one that the other's log or outbox can continue from."""
    return (
        hello.handled <= session.assigned
        and hello.assigned >= session.handled
        and chain_at(session, hello.handled) in (None, hello.handled_chain)
    )


def _refused(state: State, end: Greeting) -> State:
    return without_end(to_client(state, end.number, Reset()), end.number)


def _accepted(state: State, rules: Rules, end: Greeting, hello: Hello) -> State:
    """The link owns the session from here on, and goes on where the client is."""
    state = _taken_over(_with_new_token(state, rules, hello), rules, end)
    session = state.session
    session = session._replace(
        attempt=max(session.attempt, hello.attempt), fence=session.fence + 1
    )
    welcome = Welcome(
        token=state.facts.issued,
        handled=session.handled,
        handled_chain=session.handled_chain,
        first=first_kept(session.log, session.assigned),
    )
    serving = Serving(
        end.number,
        end.inbox,
        fence=session.fence,
        handled=session.handled,
        sent=hello.handled,
        sent_chain=hello.handled_chain,
    )
    state = state._replace(session=trimmed(session, hello.handled))
    return to_client(with_end(state, serving), end.number, welcome)


def _with_new_token(state: State, rules: Rules, hello: Hello) -> State:
    """A new token is valid beside the one that the client has just shown, and no other is."""
    session = state.session
    facts = state.facts._replace(issued=state.facts.issued + 1)
    if rules.mutation is Mutation.ONE_TOKEN:
        return state._replace(session=session._replace(token=facts.issued), facts=facts)
    if session.next_token is not None:
        other = session.token if hello.token == session.next_token else session.next_token
        facts = _retire(facts, other)
    session = session._replace(token=hello.token, next_token=facts.issued)
    return state._replace(session=session, facts=facts)


def _taken_over(state: State, rules: Rules, end: Greeting) -> State:
    """Older owners in this process are closed; one in another process finds out by its fence."""
    others = [one for one in state.ends if isinstance(one, Serving) and one.number != end.number]
    if rules.bounds.server is Server.ONE_PROCESS:
        if rules.mutation is not Mutation.NO_FENCE:
            for one in others:
                state = without_end(state, one.number)
    elif others and rules.bounds.handler is Handler.PLAIN:
        return state._replace(facts=state.facts._replace(may_repeat=True))
    return state


def _retire(facts: Facts, token: int) -> Facts:
    return facts._replace(retired=(*facts.retired, token))
