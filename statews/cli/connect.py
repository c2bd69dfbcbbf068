"""`statews connect`: lines go out as messages, messages come in as lines."""

from __future__ import annotations

import ssl
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from functools import partial
from typing import Final

from ..client.connect import connect
from ..errors import UsageError
from ..policy import Backoff, Policy, Timeouts
from ..transport.proxy import FROM_ENVIRONMENT
from .backend import BACKENDS, INTERRUPTED, run
from .command import Command
from .conversation import Conversation

__all__ = ["CONNECT", "converse", "trusted"]

_EXAMPLES: Final = """\
examples:
  statews connect wss://example.org/feed
  statews connect ws://localhost:8000/ --header 'Authorization: Bearer abc'
  echo hello | statews connect ws://localhost:8000/
  statews connect ws://localhost:8000/ --linger inf < /dev/null > messages.txt

Messages go to standard output, changes of state to standard error. When standard input ends,
the connection is closed as soon as the peer has been quiet for --linger seconds.

exit status: 0 closed, 1 connection failed, 2 wrong use, 130 Ctrl-C
"""
LINGER: Final = 1.0  # seconds, where nobody is at the keyboard
CLOSING: Final = 2.0  # seconds: somebody waits for the prompt


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("url", metavar="URL", help="ws://, wss:// or ws+unix://")
    parser.add_argument(
        "--header",
        metavar="'K: V'",
        action="append",
        type=_header,
        default=[],
        help="send this header in the opening handshake; may be repeated",
    )
    parser.add_argument(
        "--subprotocol",
        metavar="NAME",
        action="append",
        default=[],
        help="offer this subprotocol; may be repeated, the preferred first",
    )
    parser.add_argument(
        "--attempts",
        metavar="N",
        type=_attempts,
        default=Backoff().max_attempts,
        help="reconnect at most so often in a row, or 'unlimited' (default: %(default)s)",
    )
    parser.add_argument(
        "--linger",
        metavar="SECONDS",
        type=_seconds,
        help="how long the peer must be quiet after standard input has ended"
        f" (default: {LINGER:g}, and 0 on a terminal)",
    )
    parser.add_argument(
        "--binary", action="store_true", help="send, and write into a pipe, bytes as they are"
    )
    trust = parser.add_mutually_exclusive_group()
    trust.add_argument("--ca", metavar="FILE", help="trust the certificates of this PEM file")
    trust.add_argument("--insecure", action="store_true", help="trust any certificate")
    parser.add_argument(
        "--proxy",
        metavar="URL",
        help="go through this proxy; 'none' for none (default: as the environment says)",
    )
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        default="asyncio",
        help="the event loop (default: %(default)s)",
    )


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise ArgumentTypeError(f"expected 'Name: value', got {text!r}")
    return name.strip(), value.strip()


def _attempts(text: str) -> int | None:
    if text == "unlimited":
        return None
    if not text.isdecimal():
        raise ArgumentTypeError(f"expected a number or 'unlimited', got {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise ArgumentTypeError(f"expected seconds, got {text!r}")
    return seconds


def trusted(arguments: Namespace) -> ssl.SSLContext | None:
    """What `wss://` trusts; None: what the system does."""
    ca: str | None = arguments.ca
    if ca is not None:
        try:
            return ssl.create_default_context(cafile=ca)
        except OSError as error:
            raise UsageError(f"cannot read certificates from {ca}: {error.strerror}") from None
    if not arguments.insecure:
        return None
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _run(arguments: Namespace) -> int:
    status = run(arguments.backend, partial(converse, arguments, trusted(arguments)))
    if status > INTERRUPTED and sys.stderr.isatty():
        sys.stderr.write("\n")  # below the ^C of the terminal
    return status


async def converse(arguments: Namespace, trust: ssl.SSLContext | None) -> int:
    """Talk as the arguments say, between standard input and output; returns the exit status.

    Raises:
        UsageError: an argument is wrong.
    """
    proxy = {None: FROM_ENVIRONMENT, "none": None}.get(arguments.proxy, arguments.proxy)
    connection = connect(
        arguments.url,
        policy=Policy(
            backoff=Backoff(max_attempts=arguments.attempts), timeouts=Timeouts(closing=CLOSING)
        ),
        headers=dict(arguments.header),
        subprotocols=arguments.subprotocol,
        ssl=trust,
        proxy=proxy,
        wait=False,
    )
    linger: float | None = arguments.linger
    if linger is None:
        linger = 0.0 if sys.stdin is None or sys.stdin.isatty() else LINGER
    return await Conversation(
        connection,
        url=arguments.url,
        attempts=arguments.attempts,
        linger=linger,
        is_binary=arguments.binary,
    ).run()


CONNECT: Final = Command(
    name="connect",
    help="talk to a WebSocket server",
    description="Send lines to a WebSocket server and print its messages, across lost links.",
    examples=_EXAMPLES,
    add_arguments=_add_arguments,
    run=_run,
)
