"""What is measured, with whom, and the bars: data only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Activity = Literal["receive", "send", "echo", "idle"]
Backend = Literal["asyncio", "uvloop", "trio"]
Library = Literal[
    "statews",
    "statews-link",
    "picows-callback",
    "picows-await",
    "aiohttp",
    "websockets",
    "wsproto-anyio",
    "trio-websocket",
    "httpx-ws",
]
Kind = Literal["text", "binary"]
Message = str | bytes

BACKENDS: Final[tuple[Backend, ...]] = ("asyncio", "uvloop", "trio")

ASYNCIO: Final[tuple[Backend, ...]] = ("asyncio", "uvloop")

LIBRARIES: Final[dict[Library, tuple[Backend, ...]]] = {
    "statews": BACKENDS,
    "statews-link": BACKENDS,
    "picows-callback": ASYNCIO,
    "picows-await": ASYNCIO,
    "aiohttp": ASYNCIO,
    "websockets": BACKENDS,
    "wsproto-anyio": BACKENDS,
    "trio-websocket": ("trio",),
    "httpx-ws": BACKENDS,
}
"""The backends that each library runs on."""

REQUIRED: Final[dict[Library, str]] = {
    "statews": "statews",
    "statews-link": "statews",
    "picows-callback": "picows",
    "picows-await": "picows",
    "aiohttp": "aiohttp",
    "websockets": "websockets",
    "wsproto-anyio": "wsproto",
    "trio-websocket": "trio_websocket",
    "httpx-ws": "httpx_ws",
}
"""The module that has to be importable; a library without it is left out of the run."""

IDLE_CONNECTIONS: Final = 1000
"""How many connections are opened to see what they take."""


@dataclass(frozen=True, slots=True)
class Case:
    """One library on one backend."""

    library: Library
    backend: Backend


@dataclass(frozen=True, slots=True)
class Bar:
    """At most `factor` times what `peer` costs, or `factor` units where there is no peer."""

    backend: Backend
    factor: float
    peer: Case | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One thing that clients do.

    Attributes:
        size_bytes: the payload of each message; zero where there is none.
        batch: how many messages go between two looks at the clock, and before the server's
            acknowledgement: so many that the pause after them, and what a reader has read ahead,
            disappear.
        connections: how many are open from the beginning.
        bars: what statews is held to.
        absent: libraries that have nothing of their own to show here.
    """

    name: str
    activity: Activity
    size_bytes: int = 0
    kind: Kind = "text"
    batch: int = 1
    connections: int = 1
    bars: tuple[Bar, ...] = ()
    absent: frozenset[Library] = frozenset({"statews-link"})

    @property
    def message(self) -> Message:
        """What goes over the wire: ASCII, because that is what JSON mostly is."""
        return self.of_kind("x" * self.size_bytes)

    def of_kind(self, text: str) -> Message:
        """`text` as this scenario sends messages."""
        return text if self.kind == "text" else text.encode()

    @property
    def path(self) -> str:
        """Where the server plays its part, as `server.py` reads it."""
        match self.activity:
            case "receive":
                return f"/flood/{self.kind}/{self.size_bytes}"
            case "send":
                return f"/sink/{self.kind}/{self.batch * masked_frame_size(self.size_bytes)}"
            case "echo" | "idle":
                return f"/{self.activity}"

    @property
    def unit(self) -> str:
        """What the numbers count."""
        return (
            "KiB of memory per connection" if self.activity == "idle" else "us of CPU per message"
        )

    def cases(self) -> list[Case]:
        """Every library on every backend that it runs on."""
        return [
            Case(library, b)
            for library, on in LIBRARIES.items()
            if library not in self.absent
            for b in on
        ]


def masked_frame_size(payload_bytes: int) -> int:
    """The bytes of one unfragmented frame of a client (RFC 6455 section 5.2)."""
    length_bytes = 0 if payload_bytes < 126 else 2 if payload_bytes < 65536 else 8
    return 2 + length_bytes + 4 + payload_bytes


def _of_aiohttp(factor: float, *backends: Backend) -> tuple[Bar, ...]:
    # aiohttp has no trio: there statews is compared with aiohttp on asyncio.
    return tuple(Bar(backend, factor, Case("aiohttp", "asyncio")) for backend in backends)


_TRIO_15_TIMES: Final = Bar("trio", 1 / 15, Case("websockets", "trio"))

SCENARIOS: Final = (
    Scenario(
        name="receive-32B",
        activity="receive",
        size_bytes=32,
        batch=10_000,
        bars=(Bar("asyncio", 1.0, Case("picows-await", "asyncio")), _TRIO_15_TIMES),
    ),
    Scenario(
        name="receive-250B",
        activity="receive",
        size_bytes=250,
        batch=10_000,
        bars=_of_aiohttp(0.6, "asyncio", "trio"),
    ),
    Scenario(
        name="receive-1KiB",
        activity="receive",
        size_bytes=1 << 10,
        batch=5_000,
        bars=_of_aiohttp(0.7, "asyncio", "trio"),
    ),
    Scenario(
        name="receive-64KiB",
        activity="receive",
        size_bytes=1 << 16,
        kind="binary",
        batch=200,
        bars=_of_aiohttp(1.0, "asyncio", "trio"),
    ),
    Scenario(
        name="receive-1MiB",
        activity="receive",
        size_bytes=1 << 20,
        kind="binary",
        batch=20,
        bars=_of_aiohttp(1.0, "asyncio", "trio"),
    ),
    Scenario(
        name="send-32B",
        activity="send",
        size_bytes=32,
        batch=10_000,
        bars=(
            *_of_aiohttp(0.4, "asyncio"),
            Bar("asyncio", 1.0, Case("picows-callback", "asyncio")),
            _TRIO_15_TIMES,
            # What a receipt costs.
            Bar("asyncio", 1.5, Case("statews-link", "asyncio")),
            Bar("trio", 1.5, Case("statews-link", "trio")),
        ),
        absent=frozenset(),
    ),
    Scenario(
        name="send-64KiB",
        activity="send",
        size_bytes=1 << 16,
        kind="binary",
        batch=200,
        bars=_of_aiohttp(1.0, "asyncio"),
    ),
    Scenario(
        name="send-1MiB",
        activity="send",
        size_bytes=1 << 20,
        kind="binary",
        batch=20,
        bars=_of_aiohttp(1.0, "asyncio"),
    ),
    Scenario(
        name="echo-100x32B",
        activity="echo",
        size_bytes=32,
        batch=10,
        connections=100,
        bars=(
            Bar("asyncio", 1.0, Case("websockets", "asyncio")),
            Bar("trio", 0.5, Case("websockets", "trio")),
        ),
        absent=frozenset(
            {"statews-link", "picows-callback"}
        ),  # a callback answers itself: nobody awaits an echo
    ),
    Scenario(
        name="idle-memory",
        activity="idle",
        connections=50,
        bars=(Bar("asyncio", 12.0), Bar("trio", 12.0)),
    ),
)
