"""`statews proxy`, as it is typed: faults from arguments, from a pipe and from a terminal."""

from __future__ import annotations

import io
import os
import signal
import socket
import sys
from argparse import ArgumentParser
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress

import anyio
import pytest
from anyio import BrokenResourceError, EndOfStream
from anyio.abc import Process, SocketAttribute, SocketStream
from anyio.lowlevel import checkpoint

from statews.cli import main
from statews.cli.proxy import PROXY, carry
from statews.testing.grammar import KINDS
from statews.testing.schedule import Schedule

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.name != "posix", reason="pipes and terminals of POSIX"),
]

DEADLINE = 60.0
STATEWS = [sys.executable, "-m", "statews"]


class Running:
    """The command in this event loop: what it is told, and what it says.

    Attributes:
        typed: a descriptor; what is written there, it reads.
        shown: what it has written to standard output, or to the terminal.
        err: what it has written to standard error.
        status: its exit status, as soon as it has one.
    """

    def __init__(self, typed: int) -> None:
        self.typed = typed
        self.shown = bytearray()
        self.err = io.StringIO()
        self.status: int | None = None

    def type(self, text: str) -> None:
        os.write(self.typed, text.encode())

    def close_input(self) -> None:
        if self.typed >= 0:
            os.close(self.typed)
            self.typed = -1

    @property
    def lines(self) -> list[str]:
        """Lines that were shown, without their times."""
        lines = self.shown.decode().replace("\r\n", "\n").splitlines()
        return [line[12:] if line[:10].strip()[:1].isdigit() else line for line in lines]

    async def wait_until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():  # noqa: ASYNC110 - what is written tells nobody
            await anyio.sleep(0.005)

    async def wait_line(self, line: str) -> None:
        await self.wait_until(lambda: line in self.lines)

    async def wait_port(self) -> int:
        await self.wait_until(lambda: any("carrying to" in line for line in self.lines))
        return int(self.lines[0].partition(":")[2].partition(",")[0])

    async def wait_status(self) -> int:
        await self.wait_until(lambda: self.status is not None)
        assert self.status is not None
        return self.status

    async def watch(self, fd: int) -> None:
        with suppress(OSError):  # a terminal nobody has any more
            while True:
                await anyio.wait_readable(fd)
                chunk = os.read(fd, 65536)
                if not chunk:
                    return
                self.shown += chunk


async def echo(stream: SocketStream) -> None:
    async with stream:
        with suppress(BrokenResourceError):
            async for data in stream:
                await stream.send(data)


@asynccontextmanager
async def server() -> AsyncGenerator[int, None]:
    """The port of an echo server."""
    with anyio.fail_after(DEADLINE):
        async with (
            await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
            anyio.create_task_group() as group,
        ):
            group.start_soon(listener.serve, echo)
            yield listener.extra(SocketAttribute.local_port)  # noqa: S610 - not Django
            group.cancel_scope.cancel()


async def serve(running: Running, stdin: int | None, stdout: int, arguments: list[str]) -> None:
    """Run the command; it owns its descriptors."""
    parser = ArgumentParser()
    PROXY.add_arguments(parser)
    parsed = parser.parse_args(arguments)
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        out = stack.enter_context(os.fdopen(stdout, "w"))
        lines = None if stdin is None else stack.enter_context(os.fdopen(stdin))
        patch.setattr(sys, "stdin", lines)
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", running.err)
        running.status = await carry(parsed, Schedule.parse(parsed.fault))


@asynccontextmanager
async def in_pipes(*arguments: str) -> AsyncGenerator[Running, None]:
    """The command between two pipes."""
    stdin, typed = os.pipe()
    read, stdout = os.pipe()
    running = Running(typed)
    async with anyio.create_task_group() as group:
        group.start_soon(running.watch, read)
        group.start_soon(serve, running, stdin, stdout, list(arguments))
        yield running
        group.cancel_scope.cancel()
    os.close(read)
    running.close_input()


async def exchange(stream: SocketStream, data: bytes = b"ping") -> None:
    await stream.send(data)
    assert await stream.receive() == data


# What it does.


async def test_it_carries_and_tells_who_comes_and_goes() -> None:
    async with server() as port, in_pipes("0", f"localhost:{port}") as proxy:
        listening = await proxy.wait_port()
        assert proxy.lines == [f"listening on 127.0.0.1:{listening}, carrying to localhost:{port}"]
        async with await anyio.connect_tcp("127.0.0.1", listening) as stream:
            await exchange(stream)
            name = stream.extra(SocketAttribute.local_port)  # noqa: S610 - not Django
        await proxy.wait_line("connection 1 has ended")
        assert proxy.lines[1:] == [
            f"connection 1 from 127.0.0.1:{name}",
            "connection 1 has ended",
        ]


async def test_faults_of_the_arguments_are_there_at_once_or_in_their_time() -> None:
    options = [
        "--fault",
        "reset-new",
        "--fault",
        "loss=0.5@up 0.1:cut",
        "--fault",
        "0.2-0.3:refuse",
    ]
    async with server() as port, in_pipes("127.0.0.1:0", f"127.0.0.1:{port}", *options) as proxy:
        with suppress(BrokenResourceError, OSError):
            async with await anyio.connect_tcp("127.0.0.1", await proxy.wait_port()) as stream:
                await stream.receive()
        await proxy.wait_until(lambda: len(proxy.lines) == 8)
        entry = "of a new connection: it is accepted, and reset at once"
        changes = [line for line in proxy.lines[1:] if not line.startswith("connection")]
        assert changes == [
            entry,
            "loss is 0.5, from the client to the server",
            "every link is ended with FIN",
            "of a new connection: nobody listens: connection refused",
            entry,
        ]
        came = [line for line in proxy.lines if line.startswith("connection")]
        assert came[0].endswith(": it is accepted, and reset at once")
        assert came[1] == "connection 1 has ended"


async def test_commands_come_through_a_pipe() -> None:
    async with server() as port, in_pipes("0", f"127.0.0.1:{port}") as proxy:
        async with await anyio.connect_tcp("127.0.0.1", await proxy.wait_port()) as stream:
            await exchange(stream)
            proxy.type("cut\n\n")
            with pytest.raises(EndOfStream):
                await stream.receive()
        await proxy.wait_line("connection 1 has ended")
        proxy.type("latency=0.25@up\nbandwidth=20k\nfreeze@down\ndrop-some=0.5\n")
        proxy.type("cut-after=9@up\nrefuse\nstatus\nheal\nstatus\nquit\n")
        assert await proxy.wait_status() == 0
        await proxy.wait_line("connections: 0 now, 1 so far; no fault")
        in_force = [
            "latency=0.25@up",
            "bandwidth=20000@up",
            "links end with RST after 9 bytes up",
            "bandwidth=20000@down",
            "freeze@down",
            "of a new connection: nobody listens: connection refused",
            "of new connections, 50% are reset",
        ]
        assert proxy.lines[4:] == [
            "latency is 0.25, from the client to the server",
            "bandwidth is 20000, both",
            "frozen, from the server to the client",
            "of new connections, 50% are reset",
            "links end with RST after 9 bytes, from the client to the server",
            "of a new connection: nobody listens: connection refused",
            f"connections: 0 now, 1 so far; {', '.join(in_force)}",
            "of a new connection: it is carried to the server",
            "every fault is taken back",
            "connections: 0 now, 1 so far; no fault",
        ]
        assert proxy.err.getvalue() == ""


async def test_a_wrong_line_is_told_and_the_next_one_read() -> None:
    async with server() as port, in_pipes("0", f"127.0.0.1:{port}") as proxy:
        await proxy.wait_port()
        proxy.type("freze\nfreeze\xff\nhelp\nquit")
        proxy.close_input()
        assert await proxy.wait_status() == 0
        complaints = proxy.err.getvalue().splitlines()
        assert len(complaints) == 2
        assert complaints[0].startswith("statews: there is no fault 'freze': did you mean freeze?")
        await proxy.wait_until(lambda: "SECONDS:FAULT" in proxy.lines[-1])
        shown = "\n".join(proxy.lines)
        assert "a fault, or status, help, quit" in shown
        assert all(f"  {name}" in shown for name in KINDS)


async def test_the_end_of_a_pipe_ends_nothing() -> None:
    async with server() as port, in_pipes("0", f"127.0.0.1:{port}") as proxy:
        proxy.type("loss=0.5")
        proxy.close_input()
        await proxy.wait_line("loss is 0.5, both")
        async with await anyio.connect_tcp("127.0.0.1", await proxy.wait_port()) as stream:
            await exchange(stream)
        assert proxy.status is None


@pytest.mark.parametrize("is_closed", [False, True])
async def test_without_input_it_obeys_its_arguments(is_closed: bool) -> None:
    read, stdout = os.pipe()
    stdin = None if is_closed else os.open(os.devnull, os.O_RDONLY)
    running = Running(-1)
    async with server() as port, anyio.create_task_group() as group:
        group.start_soon(running.watch, read)
        group.start_soon(serve, running, stdin, stdout, ["0", f"127.0.0.1:{port}"])
        async with await anyio.connect_tcp("127.0.0.1", await running.wait_port()) as stream:
            await exchange(stream)
        group.cancel_scope.cancel()
    os.close(read)


async def test_where_nobody_reads_any_more_it_ends() -> None:
    read, stdout = os.pipe()
    os.close(read)
    running = Running(-1)
    async with server() as port:
        stdin = os.open(os.devnull, os.O_RDONLY)
        await serve(running, stdin, stdout, ["0", f"127.0.0.1:{port}", "--fault", "freeze"])
    assert running.status == 0


async def test_a_reader_that_is_slow_holds_up_no_connection() -> None:
    read, stdout = os.pipe()
    stdin, typed = os.pipe()
    running = Running(typed)
    async with server() as port, anyio.create_task_group() as group:
        group.start_soon(serve, running, stdin, stdout, ["0", f"127.0.0.1:{port}"])
        await anyio.wait_readable(read)
        running.shown += os.read(read, 1000)  # and nothing after it
        for _ in range(100):
            running.type("help\n" * 10)  # makes more than a pipe holds
            await checkpoint()
        async with await anyio.connect_tcp("127.0.0.1", await running.wait_port()) as stream:
            await exchange(stream)
        os.close(read)
        assert await running.wait_status() == 0
    running.close_input()


async def test_on_a_terminal_it_is_commanded_until_ctrl_d() -> None:
    leader, follower = os.openpty()
    running = Running(leader)
    async with server() as port, anyio.create_task_group() as group:
        group.start_soon(running.watch, leader)
        stdin = os.dup(follower)
        group.start_soon(serve, running, stdin, follower, ["0", f"127.0.0.1:{port}"])
        async with await anyio.connect_tcp("127.0.0.1", await running.wait_port()) as stream:
            await exchange(stream)
            running.type("reset\n")
            with pytest.raises(BrokenResourceError):
                await stream.receive()
        await running.wait_line("every link is ended with RST")
        running.type("\x04")
        assert await running.wait_status() == 0
        group.cancel_scope.cancel()
    running.close_input()


# What goes wrong.


async def test_a_server_that_is_not_there_is_told() -> None:
    with anyio.fail_after(DEADLINE):
        for target, why in (
            ("127.0.0.1:1", "Connection refused"),
            ("localhost:1", "Connection refused"),
            ("[::1]:1", ""),
            (f"{'x' * 70}:1", f"could not resolve {'x' * 70}: "),
        ):
            async with in_pipes("0", target) as proxy:
                with suppress(BrokenResourceError, OSError):
                    async with await anyio.connect_tcp(
                        "127.0.0.1", await proxy.wait_port()
                    ) as stream:
                        await stream.receive()
                await proxy.wait_line("connection 1 has ended")
                assert f"could not connect to {target}: {why}" in proxy.lines[2]


def test_a_port_that_is_taken_is_no_wrong_use(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["proxy", str(port), "127.0.0.1:1"]) == 1
    why = f"cannot listen on 127.0.0.1:{port}: Address already in use"
    assert capfd.readouterr() == ("", f"statews: {why}\n")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["x", "a:1"], "expected [127.0.0.1:]port, got 'x'"),
        ([":1", "a:1"], "expected [127.0.0.1:]port, got ':1'"),
        (["70000", "a:1"], "expected [127.0.0.1:]port, got '70000'"),
        (["0.0.0.0:1", "a:1"], "the proxy listens on 127.0.0.1 only, not on '0.0.0.0'"),
        (["0", "a"], "expected host:port, got 'a'"),
        (["0", "a:0"], "expected host:port, got 'a:0'"),
        (["0", "::1:80"], "expected host:port, got '::1:80'"),
        (["0", "a:1", "--fault", "freze"], "there is no fault 'freze': did you mean freeze?"),
        (["0", "a:1", "--fault", "1-2:cut"], "cut cannot be taken back: expected 1:cut"),
        (["0", "a:1", "--seed", "x"], "argument --seed: invalid int value: 'x'"),
        (["0"], "the following arguments are required: TARGET"),
    ],
)
def test_a_wrong_use_is_told(
    arguments: list[str], complaint: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["proxy", *arguments]) == 2
    out, err = capfd.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert complaint in err


# As a process of its own.


async def first_line(process: Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.receive()).decode()


@pytest.mark.once
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_signal_ends_it(backend: str, number: signal.Signals, status: int) -> None:
    arguments = ["proxy", "0", "127.0.0.1:1", "--backend", backend]
    with anyio.fail_after(DEADLINE):
        async with await anyio.open_process([*STATEWS, *arguments]) as process:
            assert "listening on 127.0.0.1:" in await first_line(process)
            process.send_signal(number)
            assert await process.wait() == status
            assert process.stderr is not None
            with pytest.raises(EndOfStream):
                await process.stderr.receive()


def test_its_help_lists_every_fault(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["proxy", "-h"])
    shown = capsys.readouterr().out
    assert all(f"\n  {name}" in shown for name in KINDS)
