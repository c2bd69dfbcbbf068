"""`statews connect`, as it is typed: in a pipe, on a terminal, and against a server that fails."""

from __future__ import annotations

import io
import os
import signal
import ssl
import sys
from argparse import ArgumentParser
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import TextIO

import anyio
import pytest
import trustme

from statews import Link, LinkClosed, listen
from statews.cli import main
from statews.cli.connect import CONNECT, converse, trusted
from statews.cli.lines import Writer

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.name != "posix", reason="pipes and terminals of POSIX"),
]

DEADLINE = 30.0
STATEWS = [sys.executable, "-m", "statews"]


class Server:
    """What a server was told."""

    def __init__(self) -> None:
        self.messages: list[str | bytes] = []
        self.codes: list[int] = []
        self.headers: list[str | None] = []
        self.url = ""

    async def handle(self, link: Link) -> None:
        """Echo; some messages are orders."""
        self.headers.append(link.headers.get("x-test"))
        try:
            async for message in link:
                self.messages.append(message)
                await self._answer(link, message)
                if message == "bye":
                    return
        finally:
            if isinstance(link.ending, LinkClosed):
                self.codes.append(link.ending.code)

    async def wait_codes(self, count: int) -> None:
        """Return when so many links were ended by the client."""
        while len(self.codes) < count:  # noqa: ASYNC110 - the handler tells nobody
            await anyio.sleep(0.01)

    async def _answer(self, link: Link, message: str | bytes) -> None:
        match message:
            case "late":
                await anyio.sleep(0.1)
                await link.send("one")
                await anyio.sleep(0.2)
                await link.send("two")
            case "binary":
                await link.send(bytes(range(20)))
            case "byte":
                await link.send(b"\x00")
            case "evil":
                await link.send("\x1b[2J\x07\x9b1m\n[open] \u202efake\ttab")
            case "crash":
                raise RuntimeError
            case _:
                await link.send(message)


@asynccontextmanager
async def serving(context: ssl.SSLContext | None = None) -> AsyncGenerator[Server, None]:
    server = Server()
    with anyio.fail_after(DEADLINE):
        async with listen(server.handle, ssl=context, subprotocols=["chat"]) as listener:
            scheme = "ws" if context is None else "wss"
            server.url = f"{scheme}://localhost:{listener.port}/"
            yield server


class Command:
    """The command in this event loop, with pipes or a terminal for its standard streams."""

    async def __call__(self, url: str, *options: str, stdin: bytes = b"") -> tuple[int, str, str]:
        """The exit status, and what was written."""
        source, sink = os.pipe()
        os.write(sink, stdin)
        os.close(sink)
        with TemporaryFile("w+", encoding="utf-8", newline="") as out, os.fdopen(source) as lines:
            status, err = await self.converse(url, *options, stdin=lines, stdout=out)
            out.seek(0)
            return status, out.read(), err

    async def converse(
        self, url: str, *options: str, stdin: TextIO | None, stdout: TextIO
    ) -> tuple[int, str]:
        """The exit status, and what was written to standard error."""
        parser = ArgumentParser()
        CONNECT.add_arguments(parser)
        arguments = parser.parse_args([url, "--subprotocol", "chat", "--linger", "0.3", *options])
        err = io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdin", stdin)
            patch.setattr(sys, "stdout", stdout)
            patch.setattr(sys, "stderr", err)
            status = await converse(arguments, trusted(arguments))
        return status, err.getvalue()

    async def on_terminal(self, url: str, *typed: str) -> str:
        """What a terminal shows."""
        leader, follower = os.openpty()
        shown = bytearray()
        with os.fdopen(follower) as lines, os.fdopen(os.dup(follower), "w") as out:
            async with anyio.create_task_group() as group:
                group.start_soon(self._watch, leader, shown)
                for line in typed:
                    os.write(leader, line.encode())
                await self.converse(url, "--linger", "0.3", stdin=lines, stdout=out)
                await anyio.sleep(0.1)
                group.cancel_scope.cancel()
        os.close(leader)
        return shown.decode().replace("\r\n", "\n")

    async def _watch(self, fd: int, shown: bytearray) -> None:
        while True:
            await anyio.wait_readable(fd)
            shown += os.read(fd, 65536)


@pytest.fixture
def command() -> Command:
    return Command()


# In a pipe.


async def test_lines_go_out_and_messages_come_back(command: Command) -> None:
    async with serving() as server:
        status, out, err = await command(
            server.url, "--header", "X-Test: a: b ", stdin=b"one\r\n\nzw\xc3\xb6lf\nlast"
        )
        assert (status, out) == (0, "one\n\nzwölf\nlast\n")
        assert err == f"[connecting] {server.url}\n[open] subprotocol chat\n[closed]\n"
        await server.wait_codes(1)
        assert (server.codes, server.headers) == ([1000], ["a: b"])


async def test_it_waits_until_the_peer_is_quiet(command: Command) -> None:
    async with serving() as server:
        assert (await command(server.url, stdin=b"late"))[:2] == (0, "one\ntwo\n")


async def test_without_input_it_only_listens(command: Command) -> None:
    nothing = os.fdopen(os.open(os.devnull, os.O_RDONLY))
    async with serving() as server:
        with TemporaryFile("w+") as out:
            assert (await command.converse(server.url, stdin=None, stdout=out))[0] == 0
        with nothing, TemporaryFile("w+") as out:
            assert (await command.converse(server.url, stdin=nothing, stdout=out))[0] == 0
        assert server.messages == []


async def test_a_file_is_read_in_a_thread(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes((b"x" * 999 + b"\n") * 200)
    async with serving() as server:
        with path.open() as lines, TemporaryFile("w+") as out:
            assert (await command.converse(server.url, stdin=lines, stdout=out))[0] == 0
        assert server.messages == ["x" * 999] * 200


async def test_binary_messages_are_told_or_written(command: Command) -> None:
    async with serving() as server:
        told = await command(server.url, stdin=b"binary\nbyte\n")
        assert told[:2] == (0, "binary, 20 bytes\nbinary, 1 byte\n")
        written = await command(server.url, "--binary", stdin=b"a\r\nb")
        assert written[:2] == (0, "a\r\nb\n")
        assert server.messages[-2:] == [b"a\r", b"b"]


async def test_what_is_no_text_is_refused(command: Command) -> None:
    async with serving() as server:
        status, _, err = await command(server.url, stdin=b"good\nb\xff\n")
        assert status == 2
        assert "line 2 of standard input is not UTF-8: --binary sends bytes as they are" in err


async def test_where_nobody_reads_any_more_it_closes(command: Command) -> None:
    async with serving() as server:
        source, sink = os.pipe()
        os.close(source)
        with os.fdopen(sink, "w") as out:
            read, write = os.pipe()
            with os.fdopen(read) as lines:
                os.write(write, b"x\n")
                assert (await command.converse(server.url, stdin=lines, stdout=out))[0] == 0
        os.close(write)
        await server.wait_codes(1)
        assert server.codes == [1000]


async def test_a_reader_that_is_slow_holds_up_only_the_writer() -> None:
    source, sink = os.pipe()
    received = bytearray()
    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as group:
            group.start_soon(Writer(sink).write, bytes(300_000))
            while len(received) < 300_000:
                await anyio.wait_readable(source)
                received += os.read(source, 65536)
    os.close(source)
    os.close(sink)


# On a terminal.


async def test_on_a_terminal_nothing_from_the_peer_commands_it(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with serving() as server:
        shown = await command.on_terminal(server.url, "evil\n", "\x04")
    assert shown == "evil\n< \\x1b[2J\\x07\\x9b1m\n  [open] \\u202efake\ttab\n"


async def test_on_a_terminal_bytes_are_shown_as_numbers_and_in_colour(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    async with serving() as server:
        shown = await command.on_terminal(server.url, "binary\n", "\x04")
    begin, end = "\x1b[36m< \x1b[0m\x1b[35m", "\x1b[0m\n"
    numbers = " ".join(f"{number:02x}" for number in range(16))
    assert f"{begin}binary, 20 bytes: {numbers} ...{end}" in shown


# Against a server that fails.


async def test_when_the_peer_ends_it_so_does_the_command(command: Command) -> None:
    async with serving() as server:
        read, write = os.pipe()
        with os.fdopen(read) as lines, TemporaryFile("w+") as out:
            os.write(write, b"bye\n")
            status, err = await command.converse(server.url, stdin=lines, stdout=out)
        os.close(write)
        assert status == 0
        assert err.endswith("[closed] the peer closed the link with 1000\n")


async def test_a_lost_link_is_replaced(command: Command) -> None:
    async with serving() as server:
        status, out, err = await command(server.url, "--attempts", "1", stdin=b"x\ncrash\n")
        assert (status, out) == (0, "x\n")
        lines = err.splitlines()
        assert lines[2].startswith("[backing-off] the peer closed the link with 1011")
        assert "; attempt 1 of 1 in " in lines[2]
        assert lines[3:] == ["[connecting]", "[open] subprotocol chat", "[closed]"]


async def test_when_it_gives_up_it_says_what_was_tried(command: Command) -> None:
    status, out, err = await command("ws://127.0.0.1:1/", "--attempts", "2", stdin=b"x\n")
    assert (status, out) == (1, "")
    assert "[failed] gave up after 3 failures:\n  1-3. could not connect" in err


async def test_one_failure_is_said_in_one_line(command: Command) -> None:
    status, _, err = await command("ws://127.0.0.1:1/", "--attempts", "0")
    assert status == 1
    assert len(err.splitlines()) == 2
    assert err.splitlines()[1].startswith("[failed] could not connect")


async def test_what_the_server_wrote_about_a_refusal_is_shown(command: Command) -> None:
    async def refuse(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nno \x1b[1m!\n")

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as group,
    ):
        group.start_soon(listener.serve, refuse)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 - not Django
        status, _, err = await command(f"ws://127.0.0.1:{port}/")
        assert status == 1
        assert "404" in err
        assert err.endswith(": no \\x1b[1m!\n")
        group.cancel_scope.cancel()


# Options.


async def test_certificates_are_checked_as_asked(command: Command, tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    async with serving(context) as server:
        for options, expected in (((), 1), (("--ca", str(ca)), 0), (("--insecure",), 0)):
            status, _, err = await command(server.url, *options)
            assert status == expected
            assert ("[closed]" in err) == (expected == 0)


async def test_none_is_no_proxy(command: Command) -> None:
    async with serving() as server:
        assert (await command(server.url, "--proxy", "none"))[0] == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["http://x"], "expected a URL like wss://host:port/path"),
        (["ws://x", "--header", "nothing"], "expected 'Name: value', got 'nothing'"),
        (["ws://x", "--proxy", "gopher://x"], "expected a proxy like http://host:port"),
        (["ws://x", "--attempts", "many"], "expected a number or 'unlimited', got 'many'"),
        (["ws://x", "--linger", "-1"], "expected seconds, got '-1'"),
        (["ws://x", "--linger", "nan"], "expected seconds, got 'nan'"),
        (["ws://x", "--linger", "x"], "expected seconds, got 'x'"),
        (["ws://x", "--ca", "/nowhere"], "cannot read certificates from /nowhere: No such file"),
        (["ws://x", "--ca", "/dev/null", "--insecure"], "not allowed with argument"),
    ],
)
def test_a_wrong_use_is_told(
    arguments: list[str], complaint: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["connect", *arguments]) == 2
    out, err = capfd.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert complaint in err


def test_attempts_may_be_unlimited() -> None:
    parser = ArgumentParser()
    CONNECT.add_arguments(parser)
    assert parser.parse_args(["ws://x", "--attempts", "unlimited"]).attempts is None
    assert parser.parse_args(["ws://x", "--attempts", "7"]).attempts == 7


# As a process of its own.


@pytest.mark.once
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
async def test_ctrl_c_ends_it_with_a_closing_handshake(backend: str) -> None:
    async with serving() as server:
        async with await anyio.open_process(
            [*STATEWS, "connect", server.url, "--subprotocol", "chat", "--backend", backend]
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            await process.stdin.send(b"hello\n")
            assert await process.stdout.receive() == b"hello\n"
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 130
            err = b"".join([chunk async for chunk in process.stderr])
        assert err.decode().splitlines()[1:] == ["[open] subprotocol chat"]
        await server.wait_codes(1)
        assert server.codes == [1001]


async def test_it_works_between_pipes() -> None:
    async with serving() as server:
        options = ["--subprotocol", "chat", "--linger", "0.3"]
        done = await anyio.run_process([*STATEWS, "connect", server.url, *options], input=b"hi\n")
        assert (done.returncode, done.stdout) == (0, b"hi\n")
