"""A WebSocket connection that comes back."""

import logging as _logging

from .client.changes import Change, Changes, Snapshot
from .client.connect import connect
from .client.connection import Connection
from .client.events import Events
from .client.receipts import Receipt
from .client.resume import OnMissing, Resume
from .client.settings import Attempt
from .errors import (
    BusyError,
    CertificateError,
    ConnectionClosed,
    ConnectionFailed,
    DeliveryError,
    DialError,
    FrameError,
    HandshakeError,
    HookError,
    LinkClosed,
    LinkDropped,
    LinkError,
    OpeningTimeout,
    OutboxFullError,
    PeerError,
    PeerSilent,
    RefusedEventError,
    SessionError,
    SessionMissing,
    StatewsError,
    StoreBusyError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
    UpgradeRefused,
    UsageError,
)
from .lifecycle import Phase, SessionState, State
from .policy import (
    Acknowledged,
    AtLimit,
    Backoff,
    Deflate,
    Delivery,
    Heartbeat,
    Jitter,
    Limits,
    OnStoreError,
    Outbox,
    Policy,
    Timeouts,
)
from .presets import chat, collaboration, live
from .protocol.admission import Admission, Rate
from .protocol.entry import ReceiptState
from .protocol.frames import Message
from .protocol.session import Window
from .protocol.sync import After, Ask, Gap, Latest, Page, Reset, Since, Strategy
from .protocol.verdict import (
    End,
    Fail,
    Failure,
    NextEndpoint,
    Refresh,
    Retry,
    RetryNow,
    Verdict,
    decide,
)
from .server import Request, Server, ServerStatistics, Session, SessionLimits, serve
from .store import MemoryStore, OutboxStore, SQLiteStore, Synchronous
from .transport.dial import Target
from .transport.link import Link
from .transport.listen import listen
from .transport.listener import Listener

# A library says nothing unless the application wants to hear it.
_logging.getLogger(__name__).addHandler(_logging.NullHandler())

__version__ = "0.1.0"

__all__ = [
    "Acknowledged",
    "Admission",
    "After",
    "Ask",
    "AtLimit",
    "Attempt",
    "Backoff",
    "BusyError",
    "CertificateError",
    "Change",
    "Changes",
    "Connection",
    "ConnectionClosed",
    "ConnectionFailed",
    "Deflate",
    "Delivery",
    "DeliveryError",
    "DialError",
    "End",
    "Events",
    "Fail",
    "Failure",
    "FrameError",
    "Gap",
    "HandshakeError",
    "Heartbeat",
    "HookError",
    "Jitter",
    "Latest",
    "Limits",
    "Link",
    "LinkClosed",
    "LinkDropped",
    "LinkError",
    "Listener",
    "MemoryStore",
    "Message",
    "NextEndpoint",
    "OnMissing",
    "OnStoreError",
    "OpeningTimeout",
    "Outbox",
    "OutboxFullError",
    "OutboxStore",
    "Page",
    "PeerError",
    "PeerSilent",
    "Phase",
    "Policy",
    "Rate",
    "Receipt",
    "ReceiptState",
    "Refresh",
    "RefusedEventError",
    "Request",
    "Reset",
    "Resume",
    "Retry",
    "RetryNow",
    "SQLiteStore",
    "Server",
    "ServerStatistics",
    "Session",
    "SessionError",
    "SessionLimits",
    "SessionMissing",
    "SessionState",
    "Since",
    "Snapshot",
    "State",
    "StatewsError",
    "StoreBusyError",
    "StoreCorruptError",
    "StoreError",
    "StoreFullError",
    "StoreReadOnlyError",
    "Strategy",
    "Synchronous",
    "Target",
    "Timeouts",
    "UpgradeRefused",
    "UsageError",
    "Verdict",
    "Window",
    "chat",
    "collaboration",
    "connect",
    "decide",
    "listen",
    "live",
    "serve",
]
