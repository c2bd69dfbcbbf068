"""How much memory something takes."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeAlias

Memory: TypeAlias = Callable[[], tuple[int, int]]
"""Tells how many bytes are held, and how many were at the most."""


@contextmanager
def traced() -> Generator[Memory]:
    """Trace what is allocated here.

    What earlier tests have left is collected before, and no garbage meanwhile: finalizers and
    the warnings that they give allocate as well.
    """
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        yield tracemalloc.get_traced_memory
    finally:
        tracemalloc.stop()
        gc.enable()
