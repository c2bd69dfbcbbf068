"""`statews proxy`: a TCP proxy that is a bad network on request, for any client and any server."""

from __future__ import annotations

import math
import os
import stat
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
from anyio import CancelScope, Event, current_time

from ..errors import DialError, UsageError
from ..testing import Entry, FaultProxy, Faults, Line
from ..testing.carrier import CarrierStream
from ..testing.grammar import KINDS, format_number, usage
from ..testing.overlay import Overlay
from ..testing.schedule import Schedule
from ..transport.stream import tune
from ..transport.tcp import connect_socket, resolve
from .backend import BACKENDS, INTERRUPTED, run
from .command import Command
from .lines import LineReader, Writer

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

__all__ = ["PROXY", "carry"]

HOST: Final = "127.0.0.1"
PATIENCE: Final = 5.0  # seconds for each address of the target
FLUSHING: Final = 1.0  # seconds in which the last lines may be written
COLUMN: Final = 40


def _faults() -> Iterator[str]:
    """All there are, one a line."""
    for name, kind in KINDS.items():
        yield f"  {usage(name):<{COLUMN}} {kind.does}"
    yield "  SECONDS:FAULT, BEGIN-END:FAULT           after a time; for a time, then taken back"


_EXAMPLES: Final = f"""\
faults:
{chr(10).join(_faults())}

up is from the client to the server. Faults can be typed while it runs, one a line, as can
status, help and quit; their times count from then on. Ctrl-D quits; a pipe that ends does not.

examples:
  statews proxy 9000 localhost:8000                         a good network, faults are typed
  statews proxy 9000 localhost:8000 --fault latency=0.2 --fault bandwidth=20k@down
  statews proxy 9000 localhost:8000 --fault 10-25:freeze --fault 40:reset < /dev/null

exit status: 0 quit, 1 the port is not to be had, 2 wrong use, 130 Ctrl-C
"""


class Address(NamedTuple):
    """Where to listen, or where to connect to."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "listen",
        metavar="LISTEN",
        type=_listen,
        help=f"[{HOST}:]port to listen on; 0 lets the system choose",
    )
    parser.add_argument("target", metavar="TARGET", type=_target, help="host:port of the server")
    parser.add_argument(
        "--fault",
        metavar="FAULT",
        action="append",
        default=[],
        help="see below; may be repeated",
    )
    parser.add_argument(
        "--seed",
        metavar="N",
        type=int,
        default=0,
        help="of jitter, loss and drop-some (default: %(default)s)",
    )
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        default="asyncio",
        help="the event loop (default: %(default)s)",
    )


def _listen(text: str) -> Address:
    host, colon, port = text.rpartition(":")
    if not _is_port(port) or (colon and not host):
        raise ArgumentTypeError(f"expected [{HOST}:]port, got {text!r}")
    if colon and host != HOST:
        raise ArgumentTypeError(f"the proxy listens on {HOST} only, not on {host!r}")
    return Address(HOST, int(port))


def _target(text: str) -> Address:
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    if not host or not _is_port(port) or not int(port):
        raise ArgumentTypeError(f"expected host:port, got {text!r}")
    return Address(host, int(port))


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) <= 65535


def _run(arguments: Namespace) -> int:
    schedule = Schedule.parse(arguments.fault)
    status = run(arguments.backend, partial(carry, arguments, schedule))
    if status > INTERRUPTED and sys.stderr.isatty():
        sys.stderr.write("\n")  # below the ^C of the terminal
    return status


class _Output:
    """Lines for standard output. Whoever has one does not wait for its reader.

    Args:
        fd: what to write to.
    """

    def __init__(self, fd: int) -> None:
        self._writer = Writer(fd)
        self._lines, self._written = anyio.create_memory_object_stream[str](math.inf)
        self._began = current_time()

    def tell(self, what: str) -> None:
        """A line of what happens, with the seconds since the start."""
        self.write(f"{current_time() - self._began:10.3f}  {what}")

    def write(self, text: str) -> None:
        """A line, as it is."""
        with suppress(anyio.ClosedResourceError):  # nobody reads any more
            self._lines.send_nowait(text)

    def close(self) -> None:
        """Nothing more will come."""
        self._lines.close()

    async def run(self, scope: CancelScope) -> None:
        """Write them; nobody who reads is as good as `quit`."""
        with self._lines, self._written:
            try:
                async for line in self._written:
                    await self._writer.write(f"{line}\n".encode(errors="backslashreplace"))
            except BrokenPipeError:
                scope.cancel()


class _ToldProxy(FaultProxy):
    """A `FaultProxy` that tells of all that happens, and finds its server by name."""

    def __init__(
        self, target: Address, *, listen_port: int, seed: int, tell: Callable[[str], None]
    ) -> None:
        super().__init__(target.host, port=target.port, listen_port=listen_port, seed=seed)
        self._tell = tell
        self._came = 0

    def _changed(self, what: str) -> None:
        self._tell(what)

    async def _carry(self, client: CarrierStream, entry: Entry) -> None:
        self._came += 1
        name = f"connection {self._came}"
        becomes = "" if entry is Entry.ACCEPT else f": {entry.value}"
        self._tell(f"{name} from {client.peer_address()}{becomes}")
        try:
            await super()._carry(client, entry)
        finally:
            self._tell(f"{name} has ended")

    async def dial(self) -> CarrierStream:
        """A connection to the server: the first of its addresses that answers.

        Raises:
            OSError: none does.
        """
        why = "it did not answer"
        try:
            for family, address in await resolve(*self._server):
                try:
                    with anyio.move_on_after(PATIENCE):
                        sock = await connect_socket(family, address)
                        tune(sock, None)
                        return CarrierStream(sock)
                except OSError as error:
                    why = error.strerror or str(error)
        except DialError as error:
            why = str(error)
        self._tell(f"could not connect to {Address(*self._server)}: {why}")
        raise OSError(why)


class _Session:
    """A proxy that runs, and who commands it.

    Args:
        proxy: entered already.
        output: where its answers go.
    """

    def __init__(self, proxy: _ToldProxy, output: _Output) -> None:
        self._proxy = proxy
        self._output = output
        self._overlay = Overlay(proxy)

    async def run(self, schedule: Schedule) -> None:
        """Until somebody quits."""
        async with anyio.create_task_group() as group:
            await group.start(schedule.play, self._overlay)
            await self._obey(group)
            group.cancel_scope.cancel()

    async def _obey(self, group: TaskGroup) -> None:
        """Take commands. The end of a pipe is no command, that of what a terminal types is."""
        if _is_typed():
            async for line in LineReader(sys.stdin.fileno()):
                text = line.decode(errors="replace").strip()
                if text == "quit":
                    return
                await self._do(text, group)
            if sys.stdin.isatty():
                return
        await Event().wait()

    async def _do(self, text: str, group: TaskGroup) -> None:
        match text:
            case "status":
                self._output.tell(_status(self._proxy))
            case "help":
                for line in ("a fault, or status, help, quit; faults are", *_faults()):
                    self._output.write(line)
            case _:
                try:
                    schedule = Schedule.parse([text])
                except UsageError as error:
                    _complain(str(error))
                else:
                    await group.start(schedule.play, self._overlay)


def _is_typed() -> bool:
    """Whether commands may come from standard input: from a terminal, a pipe or a socket."""
    if sys.stdin is None:  # closed by whoever started this
        return False
    mode = os.fstat(sys.stdin.fileno()).st_mode
    return sys.stdin.isatty() or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _complain(text: str) -> None:
    sys.stderr.write(f"statews: {text}\n")
    sys.stderr.flush()


def _status(faults: Faults) -> str:
    """All there is to know, in a line."""
    words = [*_line_status(faults.up, "up"), *_line_status(faults.down, "down")]
    if faults.entry is not Entry.ACCEPT:
        words.append(f"of a new connection: {faults.entry.value}")
    if faults.drop_share:
        words.append(f"of new connections, {faults.drop_share:.0%} are reset")
    so_far = f"connections: {faults.links} now, {faults.accepted} so far"
    return f"{so_far}; {', '.join(words) or 'no fault'}"


def _line_status(line: Line, way: str) -> Iterator[str]:
    for name in ("latency", "jitter", "loss"):
        value: float = getattr(line, name)
        if value:
            yield f"{name}={format_number(value)}@{way}"
    if line.bandwidth < math.inf:
        yield f"bandwidth={format_number(line.bandwidth)}@{way}"
    if line.is_frozen:
        yield f"freeze@{way}"
    if line.cut is not None:
        yield f"links end with {line.cut} {way}"


async def carry(arguments: Namespace, schedule: Schedule) -> int:
    """Be the proxy that the arguments ask for; returns the exit status."""
    output = _Output(sys.stdout.fileno())
    status = 0
    async with anyio.create_task_group() as group:
        group.start_soon(output.run, group.cancel_scope)
        status = await _carry(arguments, schedule, output)
        output.close()
        group.cancel_scope.deadline = current_time() + FLUSHING
    return status


async def _carry(arguments: Namespace, schedule: Schedule, output: _Output) -> int:
    listen: Address = arguments.listen
    target: Address = arguments.target
    proxy = _ToldProxy(target, listen_port=listen.port, seed=arguments.seed, tell=output.tell)
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(proxy)
        except OSError as error:
            _complain(f"cannot listen on {listen}: {error.strerror}")
            return 1
        output.tell(f"listening on {HOST}:{proxy.port}, carrying to {target}")
        await _Session(proxy, output).run(schedule)
    return 0


PROXY: Final = Command(
    name="proxy",
    help="be a bad network between a client and a server",
    description=(
        "Carry TCP connections, and be slow, cut, half-open or not there at all, as asked."
    ),
    examples=_EXAMPLES,
    add_arguments=_add_arguments,
    run=_run,
)
