"""The error tree: whose fault it was, and the facts as attributes.

`UsageError` is yours, `PeerError` the peer's, `LinkError` the link's (it may be
retried), `StoreError` the disk's, `ConnectionFailed` what remains when the policy gave
up, `OutboxFullError` and `DeliveryError` what became of a message, and `ConnectionClosed`
nobody's: a fact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class StatewsError(Exception):
    """The root of everything that statews raises on purpose. It survives pickling and copying."""

    def __reduce__(self) -> tuple[object, ...]:
        # What Exception does is to call `__init__` again, with the message alone.
        return _rebuild, (type(self), self.args), self.__dict__


def _rebuild(kind: type[StatewsError], args: tuple[object, ...]) -> StatewsError:
    return kind.__new__(kind, *args)


class UsageError(StatewsError, ValueError):
    """A wrong argument, or a call that makes no sense here; it says what would be right."""


class BusyError(UsageError):
    """Two tasks wait for the messages of one connection at the same time."""


class RefusedEventError(UsageError):
    """The lifecycle has no row for this event in this state; nothing was changed.

    Attributes:
        state: the state the machine is in.
        event: the event that was refused.
    """

    def __init__(self, state: str, event: str, why: str) -> None:
        super().__init__(f"cannot {event} while {state}: {why}")
        self.state = state
        self.event = event


class PeerError(StatewsError):
    """The peer broke a protocol, or answered no."""


class FrameError(PeerError):
    """The peer sent bytes that RFC 6455, RFC 7692 or a limit of ours forbids.

    Attributes:
        close_code: what the peer is told (RFC 6455 section 7.4.1): 1002, 1007 or 1009.
    """

    def __init__(self, close_code: int, message: str) -> None:
        super().__init__(message)
        self.close_code = close_code


class SessionError(FrameError):
    """The peer broke `statews.v1`, or does not speak it where a session was demanded.

    Its close code is 4400 or another of that protocol's own.
    """


class HandshakeError(PeerError):
    """The peer's half of the opening handshake is not one (RFC 6455 section 4)."""


class SessionMissing(HandshakeError):
    """The server does not speak `statews.v1`, and `OnMissing.FAIL` says what then."""


class UpgradeRefused(HandshakeError):
    """The server answered the opening handshake with something else than 101.

    Attributes:
        status: the HTTP status code.
        headers: the response's headers, names in lower case.
        body: the first bytes of the response's body.
    """

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers
        self.body = body


class CertificateError(PeerError):
    """The server's certificate does not prove that it is the server."""


class LinkError(StatewsError):
    """A link did not come up or did not last. Another one may."""


class DialError(LinkError):
    """The peer was not reached: DNS, TCP, TLS or a proxy."""


class OpeningTimeout(LinkError):
    """The attempt took longer than `Timeouts.opening`."""


class LinkDropped(LinkError):
    """The transport ended, or broke, without a closing handshake (close code 1006)."""


class PeerSilent(LinkError):
    """Nothing came from the peer for the heartbeat's interval and timeout."""


class LinkClosed(LinkError):
    """The peer closed the link with a close frame (RFC 6455 section 5.5.1).

    Attributes:
        code: the close code, 1005 if the frame held none.
        reason: the close reason, possibly empty.
    """

    def __init__(self, code: int, reason: str = "") -> None:
        why = f": {reason}" if reason else ""
        super().__init__(f"the peer closed the link with {code}{why}")
        self.code = code
        self.reason = reason


class HookError(LinkError):
    """A callable of yours failed during an attempt; its exception is the cause."""


class OutboxFullError(StatewsError):
    """The outbox is at its limit, and `AtLimit.RAISE` says what then. The message is not in it."""


class DeliveryError(StatewsError):
    """A message was not delivered, or nobody can say whether it was.

    Attributes:
        state: what became of it: "expired", "dropped" or "in-doubt".
        reason: why.
    """

    def __init__(self, state: str, reason: str) -> None:
        super().__init__(f"the message is {state.replace('-', ' ')}: {reason}")
        self.state = state
        self.reason = reason


class StoreError(StatewsError):
    """What is kept on disk could not be read or written; what was to be saved is kept in memory.

    Attributes:
        path: the file of the store.
    """

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path = path


class StoreFullError(StoreError):
    """There is no room on the disk."""


class StoreReadOnlyError(StoreError):
    """This process may not write the file, or not into its directory."""


class StoreCorruptError(StoreError):
    """The file is damaged, of another application or of another version; it is left as it is."""


class StoreBusyError(StoreError):
    """Somebody has the file open, here or in another process."""


class ConnectionFailed(StatewsError):
    """The policy gave up, or the peer's answer will not change. `connect()` starts over.

    Attributes:
        history: what ended each attempt since the last link that lasted, oldest first.
    """

    def __init__(self, history: Sequence[Exception], message: str) -> None:
        super().__init__(message)
        self.history: tuple[Exception, ...] = tuple(history)


class ConnectionClosed(StatewsError):
    """The connection is closed, for good: by `close()`, or by the peer's intent."""
