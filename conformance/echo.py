"""The two echo peers that Autobahn examines: statews as a client, and statews as a server."""

from typing import Final

import anyio

from statews import Deflate, Limits, Link, Policy, StatewsError, Target, listen
from statews.transport.dial import Dialing, dial

# No heartbeat, for a case may count every frame. The longest message is 16 MiB (9.1.6).
# Compressing short messages too lets 12.1.1 and its like test what they are for; level 1
# because what a peer reads is the same at every level, and the suite is long enough.
POLICY: Final = Policy(
    heartbeat=None,
    limits=Limits(message_bytes=16 * 2**20),
    deflate=Deflate(level=1, threshold_bytes=0),
)


async def echo(link: Link) -> None:
    """Send back what comes, until the peer closes the link or breaks the protocol."""
    try:
        async for message in link:
            await link.send(message)
    except StatewsError:
        pass  # what the peer is told then is what the suite looks at


async def echo_client(url: str) -> None:
    """Echo what one link to ``url`` brings."""
    link = await dial(Target(url), Dialing(policy=POLICY, proxy=None), lambda _: None)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(link.serve)
        await echo(link)
        tasks.cancel_scope.cancel()
    with anyio.move_on_after(POLICY.timeouts.closing):
        await link.close()


async def echo_server(host: str, port: int) -> None:
    """Echo what every link to ``host`` and ``port`` brings, until cancelled."""
    async with listen(echo, host, port, policy=POLICY):
        await anyio.sleep_forever()
