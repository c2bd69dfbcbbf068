"""The server half: sessions that outlive their links, and who is let in."""

from .serve import Server, ServerStatistics, serve
from .session import Session
from .settings import Authenticate, Request, SessionLimits

__all__ = [
    "Authenticate",
    "Request",
    "Server",
    "ServerStatistics",
    "Session",
    "SessionLimits",
    "serve",
]
