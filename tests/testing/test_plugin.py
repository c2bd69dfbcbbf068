"""The pytest plugin as its users see it: tests in a directory of their own, and the report."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLES = [
    *BLOCK.findall((ROOT / "docs" / "testing.md").read_text()),
    *(each for each in BLOCK.findall((ROOT / "README.md").read_text()) if "pytest" in each),
]


PRELUDE = """
import anyio, pytest, statews
from anyio import current_time

async def echo(link):
    async for message in link:
        await link.send(message)

def serving():
    return statews.listen(echo, "example.org", 80)

def connecting(**options):
    policy = statews.Policy(backoff=statews.Backoff(max_attempts=None))
    return statews.connect("ws://example.org/", policy=policy, **options)
"""


def tried(pytester: pytest.Pytester, source: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(PRELUDE + source)
    return pytester.runpytest_inprocess(
        "-p", "statews.testing.plugin", "-p", "no:statews", *options
    )


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_the_guides_examples_run(pytester: pytest.Pytester, example: str) -> None:
    if "async def test" not in example:
        exec(example, {})  # noqa: S102 - the guide's own
        return
    pytester.makepyfile(example)
    result = pytester.runpytest_inprocess("-p", "statews.testing.plugin", "-p", "no:statews")
    result.assert_outcomes(passed=2)


def test_a_marked_test_runs_on_both_backends_in_virtual_time(pytester: pytest.Pytester) -> None:
    result = tried(
        pytester,
        """
        import sniffio
        libraries = []

        @pytest.mark.statews
        async def test_it():
            libraries.append(sniffio.current_async_library())
            began = current_time()
            await anyio.sleep(50_000)
            assert current_time() - began == pytest.approx(50_000)

        def test_both():
            assert libraries == ["asyncio", "trio"]
        """.replace("\n        ", "\n"),
    )
    result.assert_outcomes(passed=3)


def test_faults_play_beside_the_test(pytester: pytest.Pytester) -> None:
    result = tried(
        pytester,
        """
        @pytest.mark.statews_faults("5:reset", "5-20:refuse")
        async def test_it(statews_network):
            async with serving(), connecting() as connection:
                await connection.wait_for(statews.State.BACKING_OFF)
                assert current_time() == pytest.approx(5, abs=0.1)
                await connection.wait_for(statews.State.OPEN)
                assert current_time() >= 20
            assert len(statews_network.dials) > 1
        """.replace("\n        ", "\n"),
    )
    result.assert_outcomes(passed=2)


def test_a_failure_shows_what_happened_and_how_to_see_it_again(pytester: pytest.Pytester) -> None:
    result = tried(
        pytester,
        """
        @pytest.mark.statews_faults("5:reset")
        async def test_it():
            async with serving(), connecting() as connection:
                await connection.send("hello")
                await connection.wait_for(statews.State.BACKING_OFF)
                assert False, "on purpose"
        """.replace("\n        ", "\n"),
        "--statews-seed=7",
    )
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "*on purpose*",
            "*on asyncio, with seed 7",
            "*what happened, on asyncio*",
            "*text of 5 bytes 'hello'",
            "*5.000 network*every link is ended with RST",
            "*5.000 client*open -> backing-off*",
            "again: pytest '*::test_it' --statews-seed 7",
        ]
    )


def test_a_test_that_hangs_fails_with_the_tasks_that_hang(pytester: pytest.Pytester) -> None:
    result = tried(
        pytester,
        """
        @pytest.mark.statews(limit=3600)
        async def test_it():
            async with serving(), connecting() as connection:
                await connection.receive()
        """.replace("\n        ", "\n"),
    )
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        ["*HangError: still running after*", "*await connection.receive()"]
    )


def test_seeds_try_several_orders(pytester: pytest.Pytester) -> None:
    result = tried(
        pytester,
        """
        orders = set()

        @pytest.mark.statews(backends=["asyncio"], seeds=10)
        async def test_it():
            order = []

            async def note(number):
                await anyio.lowlevel.checkpoint()
                order.append(number)

            async with anyio.create_task_group() as group:
                for number in range(4):
                    group.start_soon(note, number)
            orders.add(tuple(order))

        def test_they_differ():
            assert len(orders) > 3
        """.replace("\n        ", "\n"),
    )
    result.assert_outcomes(passed=11)


def test_what_cannot_be_marked_is_told(pytester: pytest.Pytester) -> None:
    result = tried(
        pytester,
        """
        @pytest.mark.statews
        def test_it():
            pass
        """.replace("\n        ", "\n"),
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*marked for virtual time, and not async*"])


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ("seed=5", "*unexpected keyword argument 'seed'*"),
        ("'trio'", "*positional argument*"),
        ("backends='trio'", "*expected backends to be some of*got 'trio'*"),
        ("backends=['curio']", "*expected backends to be some of*"),
    ],
)
def test_a_wrong_mark_is_told(pytester: pytest.Pytester, arguments: str, match: str) -> None:
    result = tried(
        pytester,
        f"""
@pytest.mark.statews({arguments})
async def test_it():
    pass
""",
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([match])


def test_a_modules_mark_leaves_its_other_tests_alone(pytester: pytest.Pytester) -> None:
    result = tried(
        pytester,
        """
pytestmark = pytest.mark.statews

async def test_it():
    await anyio.sleep(1000)

def test_that():
    pass
""",
    )
    result.assert_outcomes(passed=3)


def test_a_test_may_have_parameters_that_are_no_fixtures(pytester: pytest.Pytester) -> None:
    result = tried(
        pytester,
        """
from unittest import mock

@pytest.mark.statews
@pytest.mark.parametrize("number", [1])
async def test_it(statews_network, number, tmp_path, other=3):
    assert (number, other) == (1, 3)

@pytest.mark.statews
@mock.patch("os.getcwd")
async def test_patched(getcwd):
    assert isinstance(getcwd, mock.Mock)
""",
    )
    result.assert_outcomes(passed=4)


def test_without_trio_a_marked_test_runs_on_asyncio(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("statews.testing.plugin.find_spec", {}.get)
    result = tried(
        pytester,
        """
@pytest.mark.statews
async def test_it():
    await anyio.sleep(1000)
""",
    )
    result.assert_outcomes(passed=1)


def test_a_network_needs_the_mark(pytester: pytest.Pytester) -> None:
    result = tried(
        pytester,
        """
def test_it(statews_network):
    pass
""",
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*UsageError*needs @pytest.mark.statews*"])


def test_a_wrong_fault_is_told(pytester: pytest.Pytester) -> None:
    result = tried(
        pytester,
        """
        @pytest.mark.statews_faults("5:freze")
        async def test_it():
            pass
        """.replace("\n        ", "\n"),
    )
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*UsageError*freeze*"])
