"""The far end of the demo: it logs what it gets, says numbered messages, and keeps them."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast

import anyio
from anyio import Event

from ...errors import LinkClosed, StatewsError
from ...protocol.sync import After, Page
from ...transport.listen import listen

if TYPE_CHECKING:
    from anyio.abc import TaskStatus

    from ...policy import Policy
    from ...protocol.frames import Message
    from ...protocol.sync import Ask
    from ...transport.link import Link
    from .traffic import Traffic

__all__ = ["Server", "follow", "number_of", "numbered"]

PAGE: Final = 50  # messages of the history in one answer


def numbered(number: int) -> str:
    """A message of the client's, or of the server's."""
    return json.dumps({"seq": number})


def _parse(message: Message) -> dict[str, Any]:
    try:
        parsed: object = json.loads(message)
    except ValueError:
        return {}
    return cast("dict[str, Any]", parsed) if isinstance(parsed, dict) else {}


def number_of(message: Message) -> object:
    """The number of it; if it has none, the message itself."""
    number = _parse(message).get("seq")
    return number if isinstance(number, int) else message


def follow() -> After[dict[str, Any]]:
    """How the client follows what the server says, from the first message on."""
    return After(_request, seq=_seq, page=_page, parse=_parse, start=0)


def _request(ask: Ask) -> str:
    return json.dumps({"after": ask.after})


def _seq(parsed: dict[str, Any]) -> int | None:
    return parsed.get("seq")


def _page(parsed: dict[str, Any]) -> Page | None:
    return Page(items=parsed["page"], more=parsed["more"]) if "page" in parsed else None


class Server:
    """A server that can be restarted on its port. Its history is not lost with that.

    Args:
        policy: of its links.
        down: how long a restart takes, in seconds.
        traffic: whose logs it writes: of `up` the receiver's, of `down` the sender's.

    Attributes:
        port: its port; 0 before it runs.
        last_code: the close code with which a client ended the last link that one ended.
    """

    def __init__(self, policy: Policy, down: float, traffic: Traffic) -> None:
        self.port: int = 0
        self.last_code: int | None = None
        self._policy = policy
        self._down = down
        self._traffic = traffic
        self._links: list[Link] = []
        self._restart = Event()

    def restart(self) -> None:
        """Stop now, and come back a little later."""
        self._restart.set()

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        """Serve; `started` as soon as it listens."""
        while True:
            async with listen(self._serve, port=self.port, policy=self._policy) as listener:
                if not self.port:
                    self.port = listener.port
                    task_status.started()
                await self._restart.wait()
            self._restart = Event()
            await anyio.sleep(self._down)

    async def say(self) -> None:
        """The next message, into the history, and to whoever is there."""
        said = numbered(self._traffic.down.send())
        for link in tuple(self._links):
            with suppress(StatewsError):  # it is over: the client will ask for this one
                await link.send(said)

    async def _serve(self, link: Link) -> None:
        self._links.append(link)
        try:
            async for message in link:
                self._take(link, message)
        finally:
            self._links.remove(link)
            while link.inbox:  # stopped before it got to these, which are acknowledged already
                self._take(link, link.inbox.popleft())
        if isinstance(link.ending, LinkClosed):
            self.last_code = link.ending.code

    def _take(self, link: Link, message: Message) -> None:
        """Answer a question, log anything else, without a look at what was logged before."""
        after = _parse(message).get("after")
        if after is None:
            self._traffic.up.take(number_of(message))
        else:
            with suppress(StatewsError):  # it is over: the client asks again on the next one
                link.write(self._page(after))

    def _page(self, after: int) -> str:
        last = len(self._traffic.down.sent)
        end = min(after + PAGE, last)
        items = [numbered(number) for number in range(after + 1, end + 1)]
        return json.dumps({"page": items, "more": end < last})
