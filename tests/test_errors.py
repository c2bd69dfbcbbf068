"""The error tree: whose fault, with which facts."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator

import pytest

from statews import errors
from statews.errors import (
    BusyError,
    ConnectionClosed,
    ConnectionFailed,
    DialError,
    FrameError,
    HandshakeError,
    HookError,
    LinkClosed,
    LinkDropped,
    LinkError,
    OpeningTimeout,
    PeerError,
    PeerSilent,
    RefusedEventError,
    StatewsError,
    UpgradeRefused,
    UsageError,
)
from statews.protocol.handshake import Refusal

EXAMPLES = [
    UsageError("no"),
    BusyError("two"),
    RefusedEventError("open", "connect", "the link is up"),
    PeerError("bad"),
    FrameError(1002, "a reserved bit"),
    errors.SessionError(4400, "the peer acknowledged 9"),
    HandshakeError("no HTTP"),
    errors.SessionMissing("the server does not speak statews.v1"),
    UpgradeRefused(503, {"retry-after": "5"}, b"later", "the server answered 503"),
    Refusal(b"HTTP/1.1 400 Bad Request\r\n\r\n", "no key"),
    errors.CertificateError("self-signed"),
    LinkError("lost"),
    DialError("no answer"),
    OpeningTimeout("15 seconds"),
    LinkDropped("reset"),
    PeerSilent("40 seconds"),
    LinkClosed(4000, "why"),
    HookError("yours"),
    ConnectionFailed([LinkDropped("reset"), LinkClosed(1012)], "gave up"),
    ConnectionClosed("closed"),
    errors.OutboxFullError("it holds 2 messages"),
    errors.DeliveryError("in-doubt", "its link was lost"),
    errors.StoreError("/x", "no"),
    errors.StoreFullError("/x", "no space"),
    errors.StoreReadOnlyError("/x", "read-only"),
    errors.StoreCorruptError("/x", "not a database"),
    errors.StoreBusyError("/x", "locked"),
]

every_example = pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)


def kinds(root: type[StatewsError] = StatewsError) -> Iterator[type[StatewsError]]:
    for kind in root.__subclasses__():
        yield kind
        yield from kinds(kind)


def test_the_examples_are_every_error_of_the_module() -> None:
    declared = {kind for kind in kinds() if kind.__module__ == errors.__name__}
    assert declared <= {type(error) for error in EXAMPLES}


def test_every_error_is_one_persons_fault() -> None:
    whose = (
        UsageError,
        PeerError,
        LinkError,
        ConnectionFailed,
        ConnectionClosed,
        errors.OutboxFullError,
        errors.DeliveryError,
        errors.StoreError,
    )
    assert set(whose) == set(StatewsError.__subclasses__())
    for error in EXAMPLES:
        assert sum(isinstance(error, kind) for kind in whose) == 1


def test_a_wrong_argument_is_a_value_error_as_well() -> None:
    assert issubclass(UsageError, ValueError)


@every_example
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_survives_pickling_with_its_facts(error: StatewsError, protocol: int) -> None:
    back = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301 - our own
    assert (type(back), str(back), back.args) == (type(error), str(error), error.args)
    assert f"{vars(back)}" == f"{vars(error)}"


@every_example
def test_an_error_survives_copying_with_its_facts(error: StatewsError) -> None:
    back = copy.copy(error)
    assert (type(back), str(back), vars(back)) == (type(error), str(error), vars(error))


def test_facts_are_attributes() -> None:
    refused = RefusedEventError("open", "connect", "the link is up")
    assert (refused.state, refused.event) == ("open", "connect")
    assert str(refused) == "cannot connect while open: the link is up"
    frame = FrameError(1009, "too long")
    assert (frame.close_code, str(frame)) == (1009, "too long")
    upgrade = UpgradeRefused(503, {"a": "b"}, b"body", "no")
    assert (upgrade.status, upgrade.headers, upgrade.body) == (503, {"a": "b"}, b"body")
    assert str(upgrade) == "no"
    closed = LinkClosed(1012, "restart")
    assert (closed.code, closed.reason) == (1012, "restart")


def test_a_close_reason_is_told_if_there_is_one() -> None:
    assert str(LinkClosed(1012, "restart")) == "the peer closed the link with 1012: restart"
    assert str(LinkClosed(1012)) == "the peer closed the link with 1012"


def test_a_history_is_kept_as_it_was() -> None:
    history: list[Exception] = [LinkDropped("reset")]
    failed = ConnectionFailed(history, "gave up")
    history.clear()
    assert [str(error) for error in failed.history] == ["reset"]
