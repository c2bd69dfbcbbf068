"""Who takes part in the demo, and where they keep what they have to keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ...client.resume import OnMissing, Resume

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FIRST", "SECOND", "SERVER", "log_of", "resume_as", "store_of"]

SERVER: Final = "server"
FIRST: Final = "client"  # is in the process that shows everything
SECOND: Final = "client 2"


def log_of(name: str, folder: Path) -> Path:
    """The file of its log."""
    return folder / f"{name}.log"


def store_of(name: str, folder: Path) -> Path:
    """The file of its store."""
    return folder / f"{name}.sqlite"


def resume_as(name: str) -> Resume:
    """A session for a client of that name, or nothing."""
    return Resume(auth=name, on_missing=OnMissing.FAIL)
