"""What a command of the command line is."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Command"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command, `statews <name>`.

    Attributes:
        name: as it is typed.
        help: what it does, in a few words.
        description: what it does, in a sentence.
        examples: printed below the help, as they are.
        add_arguments: declares the arguments.
        run: does it, and returns the exit status.
    """

    name: str
    help: str
    description: str
    examples: str
    add_arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], int]
