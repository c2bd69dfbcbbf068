"""The command line, `statews <command>`; each command has a module of its own."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from typing import Final, NoReturn

from ..errors import UsageError
from .command import Command
from .connect import CONNECT
from .demo.command import DEMO
from .diagram import DIAGRAM
from .proxy import PROXY
from .simulate import SIMULATE

__all__ = ["main"]

_COMMANDS: Final[tuple[Command, ...]] = (CONNECT, DEMO, DIAGRAM, PROXY, SIMULATE)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 1 as the command says, 2 for a wrong use.

    Args:
        argv: the arguments, without the program's name; None for the process's own.

    Raises:
        SystemExit: `-h` was asked for, and printed.
    """
    try:
        arguments = _parser().parse_args(argv)
        command: Command = arguments.command
        return command.run(arguments)
    except UsageError as error:
        sys.stderr.write(f"statews: {error}\n")
        return 2


class _Parser(ArgumentParser):
    """A parser whose complaints are one line, like all others of this program."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} -h)")


def _parser() -> ArgumentParser:
    parser = _Parser(
        prog="statews", description="WebSocket connections that live through lost links."
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        subparser = commands.add_parser(
            command.name,
            help=command.help,
            description=command.description,
            epilog=command.examples,
            formatter_class=RawDescriptionHelpFormatter,
        )
        command.add_arguments(subparser)
        subparser.set_defaults(command=command)
    return parser
