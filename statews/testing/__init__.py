"""The test kit: a network that fails on request."""

from .proxy import Entry, Proxy

__all__ = ["Entry", "Proxy"]
