"""Who may resume a session, in which order that is judged, and who belongs together."""

from __future__ import annotations

from hashlib import sha256

import pytest

from statews.policy import Delivery, Outbox
from statews.protocol.entry import Entry
from statews.protocol.session import (
    Credentials,
    Cursor,
    Hello,
    Judgement,
    Log,
    Peer,
    Position,
    Result,
    Ticket,
    Welcome,
    Window,
    digest,
    judge,
    misfit,
)
from statews.protocol.session.chain import advance

WIDE = Window()
SENT = ("a", "b", "c", "d", "e", "f")  # by us, numbered from 1
GOT = ("A", "B", "C", "D")  # by us from the peer; the last one is not handled
GOOD = "new"  # the last token
SENT_CHAIN, GOT_CHAIN = 77, 88  # before the first


def make_peer(*, acknowledged: int = 2, dropped: int = 0) -> Peer:
    """One that has sent six messages, of which two were acknowledged, and has handled three."""
    log = Log(Outbox(delivery=Delivery.AT_LEAST_ONCE), is_numbered_at_once=True)
    log.chain = SENT_CHAIN
    peer = Peer(log, Cursor(WIDE, chain=GOT_CHAIN, is_stored=False))
    peer.resume(Position(), WIDE)
    for message in SENT:
        log.put(Entry(message), 0.0)
        peer.next_frame(0.0, 0)
    log.acknowledge(acknowledged)
    for message in GOT:
        peer.cursor.take(peer.cursor.expected, message)
    for message in GOT[:3]:
        peer.cursor.handled(message)
    peer.suspend()
    log.drop(dropped)
    return peer


def at(rx: int, *, first: int = 1, last: int = 4, chain: int | None = None) -> Position:
    """The other side's position, with the right check value if no other is given."""
    right = advance(SENT_CHAIN, SENT[:rx])
    return Position(rx=rx, chain=right if chain is None else chain, first=first, last=last)


def make_hello(position: Position, *, token: str = GOOD, attempt: int = 6) -> Hello:
    return Hello(sid="sid", token=token, attempt=attempt, position=position)


def make_credentials() -> Credentials:
    """Two tokens are good; the one before them is retired."""
    credentials = Credentials(principal="ann", attempt=5, current=digest("retired"))
    credentials.renew("retired", "old")
    credentials.prove()
    credentials.renew("old", "new")
    return credentials


def judged(
    hello: Hello, *, principal: str | None = "ann", peer: Peer | None = None
) -> tuple[Result, str]:
    judgement = judge(hello, make_credentials(), peer or make_peer(), principal)
    return judgement.result, judgement.why


# Tokens.


def test_only_the_digest_of_a_token_is_kept() -> None:
    assert digest("token") == sha256(b"token").digest()
    credentials = Credentials(None, 1, digest("token"))
    assert credentials.accepts("token")
    assert not credentials.accepts("another")
    assert not credentials.accepts("")
    assert (credentials.issued, credentials.principal, credentials.attempt) == (None, None, 1)


def test_old_and_new_token_are_good_until_the_new_one_is_proved() -> None:
    credentials = Credentials("ann", 1, digest("old"))
    credentials.renew("old", "new")
    assert credentials.accepts("old")
    assert credentials.accepts("new")
    credentials.prove()
    assert credentials.accepts("new")
    assert not credentials.accepts("old")
    assert (credentials.current, credentials.issued) == (digest("new"), None)
    credentials.prove()  # each frame does
    assert credentials.accepts("new")


def test_a_welcome_that_was_lost_costs_no_token() -> None:
    credentials = Credentials("ann", 1, digest("old"))
    credentials.renew("old", "lost")
    credentials.renew("old", "new")
    assert [credentials.accepts(token) for token in ("old", "lost", "new")] == [True, False, True]


def test_to_present_the_new_token_retires_the_old_one() -> None:
    credentials = Credentials("ann", 1, digest("old"))
    credentials.renew("old", "new")
    credentials.renew("new", "newer")
    assert [credentials.accepts(token) for token in ("old", "new", "newer")] == [False, True, True]


def test_no_token_is_shown() -> None:
    assert "secret" not in repr(Ticket("sid", "secret", 1))
    assert "secret" not in repr(Hello(sid="sid", token="secret", auth={"password": "secret"}))
    assert "secret" not in repr(Welcome(result=Result.NEW, sid="sid", token="secret"))


# The order of the judgement.


def test_who_has_no_session_gets_a_new_one() -> None:
    new = Judgement(result=Result.NEW, why="it has no session")
    for hello in (Hello(), Hello(sid="sid"), Hello(token="new")):
        assert judge(hello, None, None, "ann") == new
        assert judge(hello, make_credentials(), make_peer(), "ann") == new


def test_a_session_that_nobody_knows_is_reset() -> None:
    reset = Judgement(result=Result.RESET, why="its session is not known")
    assert judge(make_hello(at(4)), None, None, "ann") == reset
    assert (
        judge(make_hello(at(4)), make_credentials(), None, "ann") == reset
    )  # there is a tombstone
    assert judge(make_hello(at(4)), None, make_peer(), "ann") == reset


@pytest.mark.parametrize("attempt", [1, 4, 5])
def test_a_stale_attempt_is_told_before_anything_else(attempt: int) -> None:
    hello = make_hello(at(99), token="wrong", attempt=attempt)
    wanted = (Result.RESET, "a later attempt of it was accepted already")
    assert judged(hello, principal="bob") == wanted


@pytest.mark.parametrize("token", ["wrong", "retired", ""])
def test_then_a_bad_token_is_told(token: str) -> None:
    wanted = (Result.RESET, "its token is wrong or retired")
    assert judged(make_hello(at(99), token=token), principal="bob") == wanted


@pytest.mark.parametrize("principal", ["bob", None, ""])
def test_then_another_principal_is_told(principal: str | None) -> None:
    wanted = (Result.RESET, "its session is somebody else's")
    assert judged(make_hello(at(99)), principal=principal) == wanted


def test_then_a_position_that_cannot_be_is_told() -> None:
    wanted = (Result.RESET, "it has handled message 99, and 6 was the last one")
    assert judged(make_hello(at(99, first=9, last=9))) == wanted


def test_then_what_the_client_will_not_get_is_told() -> None:
    peer = make_peer(dropped=5)
    gap = Judgement(result=Result.GAP, why="it was away for too long", lost=((4, 5),))
    assert judge(make_hello(at(3, first=5)), make_credentials(), peer, "ann") == gap
    assert judged(make_hello(at(5)), peer=peer) == (Result.RESUMED, "nothing is lost")


def test_then_what_the_client_has_dropped_is_told() -> None:
    gap = Judgement(result=Result.GAP, why="it has dropped some of its own messages")
    assert judge(make_hello(at(4, first=5)), make_credentials(), make_peer(), "ann") == gap


@pytest.mark.parametrize("token", ["old", "new"])
@pytest.mark.parametrize("first", [1, 4])
@pytest.mark.parametrize("rx", [2, 6])
def test_else_nothing_is_lost(rx: int, first: int, token: str) -> None:
    resumed = Judgement(result=Result.RESUMED, why="nothing is lost")
    hello = make_hello(at(rx, first=first), token=token)
    assert judge(hello, make_credentials(), make_peer(), "ann") == resumed


# Who belongs together.


def test_two_sides_that_went_on_together_fit() -> None:
    for rx in range(2, 7):
        assert misfit(make_peer(), at(rx)) is None
    assert misfit(make_peer(), at(4, first=9, last=99)) is None


def test_nobody_can_have_handled_what_was_never_sent() -> None:
    assert misfit(make_peer(), at(7)) == "it has handled message 7, and 6 was the last one"


def test_nobody_takes_an_acknowledgement_back() -> None:
    wanted = "it has handled 1 messages, and had acknowledged 2"
    assert misfit(make_peer(), at(1)) == wanted


def test_what_was_dropped_here_may_be_asked_for() -> None:
    assert misfit(make_peer(dropped=5), at(3, chain=0)) is None  # nobody knows that value now
    assert misfit(make_peer(dropped=5), at(2)) is None


def test_nobody_forgets_what_has_arrived_from_it() -> None:
    wanted = "message 4 has arrived, and it knows {} only"
    assert misfit(make_peer(), at(4, last=3)) == wanted.format(3)  # not handled, but it is here
    assert misfit(make_peer(), at(4, last=2)) == wanted.format(2)
    assert misfit(make_peer(), at(4, last=4)) is None


def test_both_sides_have_the_same_history() -> None:
    for rx in (2, 4, 6):
        wanted = f"up to message {rx} it was told something else"
        assert misfit(make_peer(), at(rx, chain=1)) == wanted


# A client's ticket.


def resume(ticket: Ticket, welcome: Welcome) -> str | None:
    why = ticket.judge(welcome, make_peer())
    if why is None:
        ticket.renew(welcome)
    return why


def test_a_hello_says_where_the_client_is() -> None:
    ticket, window = Ticket("sid", "token", 3), Window(5)
    hello = ticket.hello(make_peer(), window, {"key": "value"}, largest=7)
    chain = advance(GOT_CHAIN, GOT[:3])
    assert hello == Hello(
        sid="sid",
        token="token",
        attempt=4,
        position=Position(rx=3, chain=chain, first=3, last=6),
        window=window,
        largest=7,
        auth={"key": "value"},
    )
    assert ticket.attempt == 4
    assert ticket.hello(make_peer(), window).auth is None


def test_attempts_rise_whatever_comes() -> None:
    ticket = Ticket()
    attempts = [ticket.hello(make_peer(), WIDE).attempt for _ in range(2)]
    resume(ticket, Welcome(result=Result.NEW, sid="sid", token="1"))
    attempts.append(ticket.hello(make_peer(), WIDE).attempt)
    resume(ticket, Welcome(result=Result.RESUMED, sid="sid", token="2", position=at(4)))
    attempts.append(ticket.hello(make_peer(), WIDE).attempt)
    ticket.forget()
    attempts.append(ticket.hello(make_peer(), WIDE).attempt)
    resume(ticket, Welcome(result=Result.RESET, sid="other", token="3"))
    attempts.append(ticket.hello(make_peer(), WIDE).attempt)
    assert attempts == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("result", [Result.NEW, Result.RESET])
@pytest.mark.parametrize("lost", [0, 1, 3])
def test_a_new_session_can_be_resumed_however_many_hellos_it_took(
    result: Result, lost: int
) -> None:
    """A server counts from 1, or from the hello that it has welcomed."""
    for counts_from_hello in (False, True):
        ticket = Ticket() if result is Result.NEW else Ticket("gone", "token", 7)
        for _ in range(lost):
            ticket.hello(make_peer(), WIDE)
        hello = ticket.hello(make_peer(), WIDE)
        attempt = hello.attempt if counts_from_hello else 1
        credentials = Credentials(None, attempt, digest("first"))
        if result is Result.RESET:
            ticket.forget()
        ticket.renew(Welcome(result=result, sid="sid", token="first"))
        hello = ticket.hello(make_peer(), WIDE)
        judgement = judge(hello, credentials, make_peer(), None)
        assert judgement.why != "a later attempt of it was accepted already"


def test_a_welcome_renews_the_ticket() -> None:
    ticket = Ticket("sid", "old", 3)
    welcome = Welcome(result=Result.RESUMED, sid="sid", token="new", position=at(4))
    assert resume(ticket, welcome) is None
    assert (ticket.sid, ticket.token, ticket.attempt) == ("sid", "new", 3)
    assert resume(ticket, Welcome(result=Result.RESET, sid="other", token="newer")) is None
    assert (ticket.sid, ticket.token) == ("other", "newer")
    ticket.forget()
    assert (ticket.sid, ticket.token) == (None, None)


@pytest.mark.parametrize("result", [Result.RESUMED, Result.GAP])
def test_only_the_session_that_was_asked_for_can_go_on(result: Result) -> None:
    wanted = "the server went on with another session"
    welcome = Welcome(result=result, sid="other", token="new", position=at(4))
    assert resume(Ticket("sid", "old", 3), welcome) == wanted
    assert resume(Ticket(), welcome) == wanted


@pytest.mark.parametrize("result", [Result.RESUMED, Result.GAP])
def test_a_client_judges_the_server_as_well(result: Result) -> None:
    welcome = Welcome(result=result, sid="sid", token="new", position=at(7))
    wanted = "it has handled message 7, and 6 was the last one"
    assert resume(Ticket("sid", "old", 3), welcome) == wanted


@pytest.mark.parametrize("result", [Result.NEW, Result.RESET])
def test_nobody_has_handled_anything_in_a_new_session(result: Result) -> None:
    def welcome(rx: int) -> Welcome:
        return Welcome(result=result, sid="new", token="new", position=at(rx))

    ticket = Ticket("sid", "old", 3)
    assert resume(ticket, welcome(1)) == "it has handled 1 messages of a new session"
    assert ticket == Ticket("sid", "old", 3)
    assert resume(ticket, welcome(0)) is None
