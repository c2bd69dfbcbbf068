"""The client's steps: each is the state after it, or None where it cannot happen."""

from __future__ import annotations

from typing_extensions import assert_never

from .invariants import Broken, check_client_may_give_up, check_client_may_handle
from .mutations import Mutation, Rules
from .state import (
    Ack,
    Calling,
    Client,
    Dropped,
    Greeting,
    Hello,
    Message,
    Open,
    Reliable,
    Reset,
    State,
    ToServer,
    Welcome,
    after,
    first_kept,
)

__all__ = [
    "client_acks",
    "client_connects",
    "client_produces",
    "client_receives",
    "client_saves_token",
    "client_sees_close",
    "client_sends",
]


def client_produces(state: State, rules: Rules) -> State | None:
    """A message is numbered, chained and in the outbox before anything else happens to it."""
    facts, record = state.facts, state.client.record
    if facts.client_produced == rules.bounds.client_messages:
        return None
    content = facts.client_produced + 1
    message = Message(record.assigned + 1, content, (*record.assigned_chain, content))
    record = record._replace(
        outbox=(*record.outbox, message), assigned=message.seq, assigned_chain=message.chain
    )
    return state._replace(
        client=state.client._replace(record=record), facts=facts._replace(client_produced=content)
    )


def client_connects(state: State, rules: Rules) -> State | None:
    """The attempt number rises, and is stored, before each hello."""
    client, spent = state.client, state.spent
    if client.link is not None or client.is_reset or spent.links >= rules.bounds.links:
        return None
    record = client.record._replace(attempt=client.record.attempt + 1)
    hello = Hello(
        token=record.token,
        attempt=record.attempt,
        handled=record.handled,
        handled_chain=record.handled_chain,
        assigned=record.assigned,
    )
    return state._replace(
        client=client._replace(record=record, link=Calling(spent.links)),
        ends=(*state.ends, Greeting(spent.links, (hello,))),
        spent=spent._replace(links=spent.links + 1),
    )


def client_sends(state: State, rules: Rules) -> State | None:
    """Messages go in order, as far as the peer's window allows."""
    client, link = state.client, state.client.link
    if not isinstance(link, Open):
        return None
    outbox = client.record.outbox
    message = next((kept for kept in outbox if kept.seq == link.sent + 1), None)
    if message is None or message.seq - outbox[0].seq >= rules.bounds.window:
        return None
    client = client._replace(link=link._replace(sent=message.seq))
    return _to_server(state._replace(client=client), link.number, Reliable(message))


def client_acks(state: State, _rules: Rules) -> State | None:
    """An ack names what was handled; each link begins with one, which confirms the new token."""
    client, link = state.client, state.client.link
    if not isinstance(link, Open) or link.acked >= client.record.handled:
        return None
    client = client._replace(link=link._replace(acked=client.record.handled))
    return _to_server(state._replace(client=client), link.number, Ack(client.record.handled))


def client_receives(state: State, rules: Rules) -> State | None:
    """The frames of a link arrive in order, and each is handled whole."""
    client = state.client
    if client.link is None or not client.link.inbox:
        return None
    frame, *rest = client.link.inbox
    state = _with_client(state, client._replace(link=client.link._replace(inbox=tuple(rest))))
    match frame:
        case Welcome():
            return _welcomed(state, rules, frame)
        case Reset():
            check_client_may_give_up(state, Broken.REFUSED)
            return _given_up(state)
        case Ack():
            return _with_outbox_after(state, frame.upto)
        case Dropped():
            return _told_of_gap(state, frame)
        case Reliable():
            return _handled(state, rules, frame.message)
        case _:
            assert_never(frame)


def client_sees_close(state: State, _rules: Rules) -> State | None:
    """A link whose other end is gone, and from which everything was read, is closed."""
    client = state.client
    if client.link is None or client.link.inbox:
        return None
    if any(end.number == client.link.number for end in state.ends):
        return None
    return _with_client(state, client._replace(link=None))


def client_saves_token(state: State, _rules: Rules) -> State | None:
    """Without `Mutation.LATE_PERSIST` there is never a token to save later."""
    client = state.client
    if client.unsaved_token is None:
        return None
    record = client.record._replace(token=client.unsaved_token)
    return _with_client(state, client._replace(record=record, unsaved_token=None))


def _welcomed(state: State, rules: Rules, welcome: Welcome) -> State:
    """The client checks what the hello was checked for, stores its token, and sends again."""
    client = state.client
    if rules.mutation is not Mutation.NO_CHAIN and not _fits(client, welcome):
        check_client_may_give_up(state, Broken.GIVEN_UP)
        return _given_up(state)
    if rules.mutation is Mutation.LATE_PERSIST:
        client = client._replace(unsaved_token=welcome.token)
    else:
        client = client._replace(record=client.record._replace(token=welcome.token))
    assert isinstance(client.link, Calling), "only a hello is welcomed"
    number, inbox = client.link.number, client.link.inbox
    client = client._replace(link=Open(number, inbox, sent=welcome.handled, acked=-1))
    if welcome.first > client.record.handled + 1:
        client = client._replace(told_lost=max(client.told_lost, welcome.first - 1))
    return _with_outbox_after(_with_client(state, client), welcome.handled)


def _fits(client: Client, welcome: Welcome) -> bool:
    """Whether the server's position is one that this client's outbox can continue from."""
    record = client.record
    first = first_kept(record.outbox, record.assigned)
    return first - 1 <= welcome.handled <= record.assigned and all(
        message.chain == welcome.handled_chain
        for message in record.outbox
        if message.seq == welcome.handled
    )


def _told_of_gap(state: State, dropped: Dropped) -> State:
    """The client goes on behind the gap, and knows its exact range."""
    client = state.client
    if dropped.upto <= client.record.handled:
        return state
    record = client.record._replace(handled=dropped.upto, handled_chain=dropped.chain)
    told_lost = max(client.told_lost, dropped.upto)
    return _with_client(state, client._replace(record=record, told_lost=told_lost))


def _handled(state: State, rules: Rules, message: Message) -> State:
    """The next message is handled; any other one is a protocol error, unless told of."""
    client = state.client
    if message.seq <= client.record.handled:
        if rules.mutation is Mutation.NO_CHAIN:  # takes it for a repetition
            return state
        return _with_client(state, client._replace(link=None))
    is_hole = message.seq > client.record.handled + 1 and message.seq > client.told_lost + 1
    if is_hole and rules.mutation is not Mutation.NO_GAP_NOTICE:
        return _with_client(state, client._replace(link=None))
    check_client_may_handle(state, message.content)
    record = client.record._replace(handled=message.seq, handled_chain=message.chain)
    seen = (*state.facts.handled_by_client, message.content)
    return state._replace(
        client=client._replace(record=record), facts=state.facts._replace(handled_by_client=seen)
    )


def _given_up(state: State) -> State:
    return _with_client(state, state.client._replace(link=None, is_reset=True))


def _with_client(state: State, client: Client) -> State:
    return state._replace(client=client)


def _with_outbox_after(state: State, handled: int) -> State:
    record = state.client.record
    record = record._replace(outbox=after(record.outbox, handled))
    return _with_client(state, state.client._replace(record=record))


def _to_server(state: State, number: int, frame: ToServer) -> State:
    """The state with a frame under way; it is lost where the server's end is gone."""
    return state._replace(
        ends=tuple(
            end._replace(inbox=(*end.inbox, frame)) if end.number == number else end
            for end in state.ends
        )
    )
