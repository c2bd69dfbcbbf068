"""The pytest plugin: async tests in virtual time, in a network of memory, with faults.

    @pytest.mark.statews_faults("5:cut", "10-20:freeze")
    async def test_the_chat_survives(statews_network):
        ...

Each such test runs on asyncio and on trio. What happened, with virtual times, stands below
the traceback of one that fails, and what to type to see it again.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, cast

import anyio
import pytest

from ..errors import UsageError
from .history import History
from .network import Network
from .schedule import Schedule
from .trace import Trace
from .virtual import BACKENDS, LIMIT, Backend, run

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["statews_history", "statews_network"]

MARKERS: Final = (
    (
        "statews(backends=('asyncio', 'trio'), seeds=1, limit=86400): run an async test in virtual"
        " time and in a network of memory; seeds: how many orders of ready tasks are tried"
    ),
    "statews_faults(*faults): so, with these faults, such as '5:cut' and '10-20:freeze'",
)


def _installed() -> Sequence[Backend]:
    return BACKENDS if find_spec("trio") is not None else ("asyncio",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the marker says.

    Attributes:
        backends: on which event loops; by default on those that are installed.
        seeds: how many are tried.
        limit: virtual seconds after which the test counts as hung.
    """

    backends: Sequence[Backend] = field(default_factory=_installed)
    seeds: int = 1
    limit: float = LIMIT

    def __post_init__(self) -> None:
        if isinstance(self.backends, str) or not set(self.backends) <= set(BACKENDS):
            raise TypeError(f"expected backends to be some of {BACKENDS}, got {self.backends!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How a test runs.

    Attributes:
        backend: on which event loop.
        seed: of the order of ready tasks, and of the network.
    """

    backend: Backend
    seed: int


MARKS: Final = frozenset({"statews", "statews_faults"})
TRACE: Final = pytest.StashKey[Trace]()
NETWORK: Final = pytest.StashKey[Network]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--statews-seed`."""
    parser.getgroup("statews").addoption(
        "--statews-seed",
        type=int,
        default=0,
        metavar="N",
        help="the first seed of tests in virtual time (default: 0)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Have a marked test run once for each backend and seed."""
    options = _options_of(metafunc.definition)
    if options is None:
        return
    if not inspect.iscoroutinefunction(metafunc.function):
        if any(mark.name in MARKS for mark in metafunc.definition.own_markers):
            pytest.fail(f"{metafunc.definition.nodeid} is marked for virtual time, and not async")
        return  # the mark is the module's, and meant for others
    first = cast("int", metafunc.config.getoption("--statews-seed"))
    settings = [
        Setting(backend=backend, seed=first + number)
        for backend in options.backends
        for number in range(options.seeds)
    ]
    ids = [f"{each.backend}-{each.seed}" if each.seed else each.backend for each in settings]
    if "statews_setting" not in metafunc.fixturenames:
        metafunc.fixturenames.append("statews_setting")
    metafunc.parametrize("statews_setting", settings, ids=ids)


def _options_of(node: pytest.Item) -> Options | None:
    """What `statews` says of a test; None: it is not one of ours."""
    marker = node.get_closest_marker("statews")
    if marker is None:
        return Options() if node.get_closest_marker("statews_faults") is not None else None
    try:
        return Options(*marker.args, **marker.kwargs)
    except TypeError as error:
        pytest.fail(f"@pytest.mark.statews of {node.nodeid}: {error}")


@pytest.fixture
def statews_network(request: pytest.FixtureRequest) -> Network:
    """The network in which the test runs."""
    return _network(request.node)


@pytest.fixture
def statews_history() -> History:
    """What was sent and delivered, to be checked at the end."""
    return History()


def _network(item: pytest.Item) -> Network:
    if NETWORK not in item.stash:
        setting = _setting(item)
        if setting is None:
            raise UsageError(f"{item.nodeid} needs @pytest.mark.statews to run in a network")
        item.stash[NETWORK] = Network(seed=setting.seed)
        item.stash[TRACE] = item.stash[NETWORK].trace
    return item.stash[NETWORK]


def _setting(item: pytest.Item) -> Setting | None:
    callspec = getattr(item, "callspec", None)
    return None if callspec is None else callspec.params.get("statews_setting")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test of ours."""
    setting = _setting(pyfuncitem)
    options = _options_of(pyfuncitem)
    if setting is None or options is None:
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in _argument_names(pyfuncitem)}
    faults = [
        text
        for mark in pyfuncitem.iter_markers("statews_faults")
        for text in cast("tuple[str, ...]", mark.args)
    ]
    play = functools.partial(pyfuncitem.obj, **arguments)
    main = functools.partial(_within, _network(pyfuncitem), Schedule.parse(faults), play)
    run(main, backend=setting.backend, seed=setting.seed, limit=options.limit)
    return True


def _argument_names(item: pytest.Function) -> Sequence[str]:
    """The fixtures that the test itself takes: pytest knows which parameters are none."""
    names: Sequence[str] = vars(item)["_fixtureinfo"].argnames
    return names


async def _within(
    network: Network, schedule: Schedule, test: Callable[[], Awaitable[object]]
) -> None:
    """Run a test in its network, its faults beside it. Its exception leaves as it is."""
    failure: BaseException | None = None
    with network, _Listener(network.trace).listening():
        async with anyio.create_task_group() as group:
            await group.start(schedule.play, network)
            try:
                await test()
            except anyio.get_cancelled_exc_class():
                raise
            except BaseException as error:  # noqa: BLE001 - raised below, in no group
                failure = error
            group.cancel_scope.cancel()
    if failure is not None:
        raise failure


class _Listener(logging.Handler):
    """Writes what the machines log into the trace."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(logging.INFO)
        self._trace = trace

    def emit(self, record: logging.LogRecord) -> None:
        self._trace.note(record.name.removeprefix("statews."), record.getMessage())

    @contextmanager
    def listening(self) -> Generator[None]:
        """Hear what is logged in the block."""
        logger = logging.getLogger("statews")
        level = logger.level
        logger.addHandler(self)
        logger.setLevel(min(logger.getEffectiveLevel(), logging.INFO))
        try:
            yield
        finally:
            logger.setLevel(level)
            logger.removeHandler(self)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put what happened below the traceback."""
    report = yield
    setting = _setting(item)
    if call.when == "call" and report.failed and TRACE in item.stash and setting is not None:
        again = f"again: pytest '{item.nodeid.partition('[')[0]}' --statews-seed {setting.seed}"
        text = f"{item.stash[TRACE].excerpt()}\n\n{again}"
        report.sections.append((f"what happened, on {setting.backend}", text))
    return report
