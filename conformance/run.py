"""Run Autobahn's test suite against statews; exit with 1 when a case fails.

    python conformance/run.py                        all cases, both sides: 15 to 30 minutes
    python conformance/run.py --quick                no large messages, little compression
    python conformance/run.py --side client --cases '6.*,7.1.1' --backend trio

Autobahn's own pages on every case are then in ``conformance/reports/*/shard-*/index.html``.
"""

import argparse
import shutil
import socket
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import anyio

import echo
import suite
from suite import AGENT, HOST, Verdict

Side = Callable[[list[list[str]], Path], Awaitable[set[str]]]

REPORTS: Final = Path(__file__).resolve().parent / "reports"
QUICK: Final = "[1-7].*,10.*,12.1.[12],13.*.1"
START_SECONDS: Final = 30.0
CASE_SECONDS: Final = 600.0  # the suite itself gives a case at most 480
SIDE_SECONDS: Final = 3600.0
PROGRESS_SECONDS: Final = 20.0


async def examine_client(shards: list[list[str]], directory: Path) -> set[str]:
    """Dial one fuzzing server per shard, once a case; return the cases in which we raised."""
    raised: set[str] = set()
    async with anyio.create_task_group() as tasks:
        for number, cases in enumerate(shards, 1):
            tasks.start_soon(_examine_client, cases, directory / f"shard-{number}", raised)
    return raised


async def _examine_client(cases: list[str], directory: Path, raised: set[str]) -> None:
    port = _free_port()
    url = f"ws://{HOST}:{port}"
    async with suite.wstest("fuzzingserver", cases, url, directory):
        await _wait_listening(port)
        for number, case in enumerate(cases, 1):
            try:
                with anyio.fail_after(CASE_SECONDS):
                    await echo.echo_client(f"{url}/runCase?case={number}&agent={AGENT}")
            except Exception as error:  # noqa: BLE001 - the other cases are worth running
                raised.add(case)
                print(f"client: {case}: echo_client raised {error!r}", flush=True)
        await echo.echo_client(f"{url}/updateReports?agent={AGENT}")


async def examine_server(shards: list[list[str]], directory: Path) -> set[str]:
    """Serve one fuzzing client per shard until its cases are done; what raises ends the run."""
    port = _free_port()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(echo.echo_server, HOST, port)
        await _wait_listening(port)
        async with anyio.create_task_group() as clients:
            for number, cases in enumerate(shards, 1):
                shard = directory / f"shard-{number}"
                clients.start_soon(_examine_server, cases, f"ws://{HOST}:{port}", shard)
        tasks.cancel_scope.cancel()
    return set()


async def _examine_server(cases: list[str], url: str, directory: Path) -> None:
    async with suite.wstest("fuzzingclient", cases, url, directory) as process:
        await process.wait()


SIDES: Final[dict[str, Side]] = {"client": examine_client, "server": examine_server}


async def examine(side: str, cases: list[str], directory: Path) -> dict[str, Verdict]:
    """Run ``cases`` on one side in two shards, and return the verdict of each."""
    shutil.rmtree(directory, ignore_errors=True)
    # Within a group the cases grow: dealt as 1, 2, 2, 1 both shards get as much to do.
    dealt = [cases[0::4] + cases[3::4], cases[1::4] + cases[2::4]]
    shards = [sorted(shard, key=suite.case_order) for shard in dealt if shard]
    raised: set[str] = set()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_tell_progress, side, len(cases), directory)
        with anyio.fail_after(SIDE_SECONDS):
            raised |= await SIDES[side](shards, directory)
        tasks.cancel_scope.cancel()
    found: dict[str, Verdict] = {}
    for number, shard in enumerate(shards, 1):
        found |= suite.verdicts(shard, directory / f"shard-{number}")
    return found | dict.fromkeys(raised, suite.RAISED)


async def _tell_progress(side: str, total: int, directory: Path) -> None:
    while True:
        await anyio.sleep(PROGRESS_SECONDS)
        logs = [log.read_text(errors="replace") for log in directory.glob("shard-*/wstest.log")]
        started = sum(log.count("Running test case ID") for log in logs)
        print(f"{side}: {started} of {total} cases", flush=True)


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        return int(listener.getsockname()[1])


async def _wait_listening(port: int) -> None:
    with anyio.fail_after(START_SECONDS):
        while True:
            try:
                stream = await anyio.connect_tcp(HOST, port)
            except OSError:
                await anyio.sleep(0.1)
            else:
                await stream.aclose()
                return


def show(results: dict[str, dict[str, Verdict]]) -> bool:
    """Print the table and the failed cases; return whether there are none."""
    rows: dict[str, Counter[str]] = {}
    failed: list[str] = []
    for side, found in results.items():
        rows[f"{side}, messages"] = Counter(verdict.behavior for verdict in found.values())
        rows[f"{side}, closing"] = Counter(verdict.behavior_close for verdict in found.values())
        failed += [
            f"{side}: {case}: messages {verdict.behavior}, closing {verdict.behavior_close}"
            for case, verdict in found.items()
            if not verdict.is_passed
        ]
    known = ["OK", "NON-STRICT", "INFORMATIONAL", "FAILED"]
    columns = known + sorted({name for counts in rows.values() for name in counts} - set(known))
    print(" " * 18 + "".join(f"{column:>15}" for column in columns))
    for name, counts in rows.items():
        print(f"{name:<18}" + "".join(f"{counts[column]:>15}" for column in columns))
    for line in failed:
        print(line)
    total = sum(map(len, results.values()))
    print(f"{total - len(failed)} passed, {len(failed)} failed")
    return not failed


def chosen(patterns: str, cases: list[str]) -> list[str]:
    """Keep the cases that match one of ``patterns``, such as ``"1.*,6.4.[12]"``."""
    wanted = patterns.split(",")
    return [case for case in cases if any(fnmatchcase(case, pattern) for pattern in wanted)]


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--side", choices=[*SIDES, "both"], default="both")
    parser.add_argument("--backend", choices=["asyncio", "trio"], default="asyncio")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--cases", default="*", help="patterns of case ids, with commas between")
    which.add_argument("--quick", action="store_const", const=QUICK, dest="cases")
    options = parser.parse_args()
    try:
        suite.install()
        cases = chosen(options.cases, suite.case_ids())
    except suite.SuiteError as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 2
    if not cases:
        parser.error(f"no case matches {options.cases!r}")
    results = {
        side: anyio.run(
            examine, side, cases, REPORTS / f"{side}-{options.backend}", backend=options.backend
        )
        for side in SIDES
        if options.side in (side, "both")
    }
    return 0 if show(results) else 1


if __name__ == "__main__":
    sys.exit(main())
