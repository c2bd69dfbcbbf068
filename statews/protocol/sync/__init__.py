"""Strategies that bring a stream of any WebSocket server up to date after a reconnect.

`Latest` converges to the newest value, `Since` asks from a stamp of the server on, and `After`
from a sequence number on. They are pure: the client sends, waits and delivers for them.
"""

from .after import After
from .latest import Latest
from .questions import Ask
from .since import Since
from .strategy import Delivery, Gap, Output, Page, Reset, Strategy

__all__ = [
    "After",
    "Ask",
    "Delivery",
    "Gap",
    "Latest",
    "Output",
    "Page",
    "Reset",
    "Since",
    "Strategy",
]
