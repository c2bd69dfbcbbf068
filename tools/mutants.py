"""Change the code that decides, a little at a time, and see that the tests notice each change.

    python tools/mutants.py            every target, which is `make mutants`
    python tools/mutants.py backoff    the targets with this in their path

A mutant is a file with one small change: another number or operator, an argument less. One that
its tests pass has survived: either they lack a case, or the change makes no difference. So each
survivor gets a test that fails on it, or a paragraph in ``mutants.txt``: the function and the
change as they are printed here, and why nobody can tell. The run fails for a survivor without a
paragraph or a reason, for a paragraph without a survivor, and for a file of which less than 95 %
is killed. A mutant that hangs is killed.

mutmut makes the mutants. It also drops arguments, assignments and cases, which is what a driver
consists of; cosmic-ray, the other tool that is kept up, mostly swaps operators, and does so in
annotations too, which nothing evaluates. The tests are run by what is below: mutmut imports the
package once for all its mutants, too early to change a table, and takes a pytest that cannot
start for a kill. Here each mutant has a fork that imports the package anew, where the same tests
have just passed without a mutant, in a copy of the tree.

mutmut changes plain functions only, so the copy has each `Final` table and each property written
as one. Type aliases, enums and the defaults of dataclasses are not mutated.
"""

from __future__ import annotations

import ast
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from difflib import unified_diff
from importlib import import_module
from importlib.util import cache_from_source
from pathlib import Path
from typing import Final

import hypothesis
import pytest

# What is mutated, and the tests that judge it.
LIFE: Final = tuple(
    f"tests/client/test_{name}.py"
    for name in (
        "closing",
        "hooks",
        "liveness",
        "messages",
        "observing",
        "orders",
        "retries",
        "surprises",
    )
)
SYNC: Final = tuple(
    f"tests/protocol/test_sync_{name}.py"
    for name in (
        "after",
        "arguments",
        "latest",
        "parts",
        "properties",
        "since",
        "timeline",
        "tracks",
    )
)
KEPT_DIAGRAMS: Final = (
    "tests/test_diagram_files.py::test_the_kept_diagrams_show_the_machines_that_run"
)
QUEUE: Final = ("tests/protocol/test_outbox.py", "tests/protocol/test_bursts.py")
MACHINES: Final = ("tests/test_lifecycle.py", "tests/test_lifecycle_session.py")
TARGETS: Final[dict[str, tuple[str, ...]]] = {
    "statews/lifecycle/connection.py": ("tests/test_lifecycle.py", KEPT_DIAGRAMS),
    "statews/lifecycle/declared.py": MACHINES,
    "statews/lifecycle/session.py": ("tests/test_lifecycle_session.py", KEPT_DIAGRAMS),
    "statews/client/driver.py": (
        *LIFE,
        "tests/client/test_durable.py",
        "tests/client/test_intake.py",
        "tests/client/test_outbox.py",
        "tests/server/test_client.py",
        "tests/server/test_client_store.py",
    ),
    "statews/client/retries.py": LIFE,
    "statews/protocol/backoff.py": ("tests/protocol/test_backoff.py",),
    "statews/protocol/burst.py": ("tests/protocol/test_bursts.py",),
    "statews/protocol/entry.py": ("tests/protocol/test_outbox.py",),
    "statews/protocol/envelope.py": ("tests/protocol/test_envelope.py",),
    "statews/protocol/fence.py": ("tests/protocol/test_fence.py",),
    "statews/protocol/inflight.py": QUEUE,
    "statews/protocol/liveness.py": ("tests/protocol/test_liveness.py",),
    "statews/protocol/outbox.py": QUEUE,
    "statews/protocol/session/chain.py": ("tests/protocol/session/test_chain.py",),
    "statews/protocol/session/cursor.py": ("tests/protocol/session/test_cursor.py",),
    "statews/protocol/session/greeting.py": ("tests/protocol/session/test_greeting.py",),
    "statews/protocol/session/identity.py": ("tests/protocol/session/test_identity.py",),
    "statews/protocol/session/log.py": (
        "tests/protocol/session/test_log.py",
        "tests/protocol/session/test_batches.py",
        "tests/protocol/session/test_flow.py",
        "tests/protocol/session/test_idle.py",
        "tests/protocol/session/test_longer.py",
        "tests/protocol/session/test_loss.py",
        "tests/protocol/session/test_peer.py",
    ),
    "statews/protocol/session/peer.py": (
        "tests/protocol/session/test_peer.py",
        "tests/protocol/session/test_both_sides.py",
        "tests/protocol/session/test_idle.py",
        "tests/protocol/session/test_longer.py",
    ),
    "statews/protocol/session/unconfirmed.py": (
        "tests/protocol/session/test_volatile.py",
        "tests/protocol/session/test_peer.py",
    ),
    "statews/protocol/session/window.py": ("tests/protocol/session/test_flow.py",),
    "statews/protocol/sync/after.py": SYNC,
    "statews/protocol/sync/fetching.py": SYNC,
    "statews/protocol/sync/latest.py": SYNC,
    "statews/protocol/sync/questions.py": SYNC,
    "statews/protocol/sync/reading.py": SYNC,
    "statews/protocol/sync/recent.py": SYNC,
    "statews/protocol/sync/since.py": SYNC,
    "statews/protocol/sync/strategy.py": SYNC,
    "statews/protocol/sync/timeline.py": SYNC,
    "statews/protocol/sync/track.py": SYNC,
    "statews/protocol/sync/tracks.py": SYNC,
    "statews/protocol/verdict.py": ("tests/protocol/test_verdict.py",),
}

ROOT: Final = Path(__file__).resolve().parent.parent
SURVIVORS: Final = Path(__file__).with_suffix(".txt")
COPIED: Final = ("diagrams", "pyproject.toml", "statews", "tests")
LEAST_PERCENT: Final = 95
MUTMUT: Final = """[mutmut]
source_paths = statews
do_not_mutate_patterns = assert_never[(]
"""  # the type checkers prove that it is never reached
PYTEST: Final = (
    "--exitfirst",
    "--failed-first",  # neighbours are often killed by the same test
    "--quiet",
    "-Wignore::pytest.PytestAssertRewriteWarning",  # of what was imported before the fork
)
FOREIGN: Final = ("anyio.pytest_plugin", "transitions", "trio.testing")  # slow to import

Function = ast.FunctionDef | ast.AsyncFunctionDef


class MutantsError(Exception):
    """Nothing can be judged; the message says why."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change to one function.

    Attributes:
        function: its file and name, such as ``statews/client/driver.py Driver.run``.
        change: the lines that differ, each after a ``-`` or a ``+``.
        source: the whole file with the change.
    """

    function: str
    change: str
    source: str = field(default="", compare=False, repr=False)


def in_functions(source: str) -> str:
    """Return ``source`` with its tables and properties written as plain functions, then called."""
    lines = source.splitlines()
    for node in sorted(_hidden(ast.parse(source)), key=lambda node: node.lineno, reverse=True):
        if isinstance(node, ast.AnnAssign):
            name = ast.unparse(node.target)
            value = ast.get_source_segment(source, node.value or node)
            table = f"def {name}():\n    return ({value})\n{name} = {name}()"
            lines[node.lineno - 1 : node.end_lineno] = table.splitlines()
        else:
            last = node.end_lineno or node.lineno
            lines[last:last] = [f"    {node.name} = property({node.name})"]
            del lines[node.lineno - 2]  # the decorator
    return "\n".join(lines) + "\n"


def _hidden(module: ast.Module) -> Iterator[ast.AnnAssign | Function]:
    """Yield the tables and properties of a module."""
    for node in module.body:
        if isinstance(node, ast.AnnAssign) and "Final" in ast.unparse(node.annotation):
            yield node
    for _, function in _functions(module.body):
        if [ast.unparse(decorator) for decorator in function.decorator_list] == ["property"]:
            yield function


def _functions(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, Function]]:
    """Yield functions and methods with their names, such as ``Driver.run``."""
    for node in body:
        if isinstance(node, Function):
            yield prefix + node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node.body, f"{node.name}.")


def mutants_of(target: str, source: str) -> Iterator[Mutant]:
    """Yield each mutant of a file that consists of ``source``."""
    mutated = import_module("mutmut.mutation.file_mutation").mutate_file_contents(target, source)
    copies = str(mutated.code).splitlines()
    lines = source.splitlines()
    places = dict(_functions(ast.parse(source).body))
    for copy in map(str, mutated.mutant_names):
        # mutmut calls its copies of `f` x_f__mutmut_1 and so on, those of `C.f` xǁCǁf__mutmut_1.
        mangled = copy.partition("__mutmut_")[0]
        name = mangled.removeprefix("x_").removeprefix("xǁ").replace("ǁ", ".")
        place, span = places[name], mutated.line_span_by_function_name[copy]
        first, last = place.lineno - 1, place.end_lineno
        changed = copies[span.start - 1 : span.end]
        while f"def {copy}(" not in changed[0]:
            del changed[0]  # a comment, a decorator
        changed[0] = changed[0].replace(copy, place.name)
        difference = list(unified_diff(lines[first:last], changed, n=0, lineterm=""))[2:]
        yield Mutant(
            function=f"{target} {name}",
            change="\n".join(line for line in difference if line[0] in "-+"),
            source="\n".join([*lines[:first], *changed, *lines[last:], ""]),
        )


def run(target: str, source: str, *, cpu_seconds: float) -> tuple[int, float]:
    """Run the tests of ``target`` with ``source`` in its place, in a fork, for a limited time.

    Returns:
        The exit status of pytest, or minus the signal that ended it; and the seconds of CPU taken.
    """
    Path(target).write_text(source, encoding="utf-8")
    Path(cache_from_source(target)).unlink(missing_ok=True)  # two mutants in a second look alike
    child = os.fork()
    if child == 0:
        status = 70
        try:
            signal.setitimer(signal.ITIMER_PROF, cpu_seconds)  # its signal kills
            with Path("output").open("w", encoding="utf-8") as output:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
            status = pytest.main([*PYTEST, *TARGETS[target]])
        finally:
            os._exit(status)
    _, ended, used = os.wait4(child, 0)
    return os.waitstatus_to_exitcode(ended), used.ru_utime + used.ru_stime


def judge(target: str) -> tuple[int, list[Mutant]]:
    """Return how many mutants a file has, and those that survive."""
    source = in_functions(Path(target).read_text(encoding="utf-8"))
    status, usual = run(target, source, cpu_seconds=600.0)
    if status:
        output = Path("output").read_text(encoding="utf-8")
        raise MutantsError(f"{output}\n{target}: its tests end with {status} without a mutant")
    limit = 3 * usual + 2  # what needs more hangs
    mutants = list(mutants_of(target, source))
    survivors: list[Mutant] = []
    for number, mutant in enumerate(mutants, 1):
        if sys.stdout.isatty():
            print(f"{target}: {number} of {len(mutants)} ", end="\r", flush=True)
        status, _ = run(target, mutant.source, cpu_seconds=limit)
        if status == 0:
            survivors.append(mutant)
    Path(target).write_text(source, encoding="utf-8")
    return len(mutants), survivors


def listed(targets: list[str]) -> dict[Mutant, str]:
    """Return the mutants of ``targets`` that may survive, each with the reason."""
    found: dict[Mutant, str] = {}
    _, *paragraphs = SURVIVORS.read_text(encoding="utf-8").strip().split("\n\n")
    for paragraph in paragraphs:
        function, *lines = paragraph.splitlines()
        target = function.partition(" ")[0]
        if target not in TARGETS:
            raise MutantsError(f"{SURVIVORS.name}: {target!r} is not mutated")
        if target in targets:
            change = "\n".join(line for line in lines if line[0] in "-+")
            reason = "\n".join(line for line in lines if line[0] not in "-+")
            found[Mutant(function, change)] = reason
    return found


def report(what: str, mutants: Iterable[Mutant]) -> bool:
    """Print ``mutants``, if there are any; return whether there are none."""
    found = list(mutants)
    for mutant in found:
        print(f"\n{what}:\n{mutant.function}\n{mutant.change}")
    return not found


def examine(targets: list[str]) -> bool:
    """Judge ``targets`` in the present directory, and print the outcome; return if it is good."""
    may_survive = listed(targets)
    survivors: list[Mutant] = []
    is_enough = True
    print(f"{'':<30}{'mutants':>9}{'killed':>9}{'survived':>10}", flush=True)
    for target in targets:
        total, alive = judge(target)
        survivors += alive
        percent = 100 * (total - len(alive)) / total
        counts = f"{total:>9}{total - len(alive):>9}{len(alive):>10}{percent:>8.1f} %"
        remark = "" if percent >= LEAST_PERCENT else "  too few"
        print(f"{target:<30}{counts}{remark}", flush=True)
        is_enough &= not remark
    verdicts = (
        report("survived", (mutant for mutant in survivors if mutant not in may_survive)),
        report("no reason why", (mutant for mutant, reason in may_survive.items() if not reason)),
        report("listed, but killed or gone", may_survive.keys() - set(survivors)),
    )
    return is_enough and all(verdicts)


def prepare(directory: str) -> None:
    """Go to ``directory``, with a copy of the tree and all that the forks have in common."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, Path(directory, name))
        else:
            shutil.copy(ROOT / name, directory)
    Path(directory, "setup.cfg").write_text(MUTMUT, encoding="utf-8")
    os.chdir(directory)
    sys.path.insert(0, directory)
    sys.dont_write_bytecode = False  # each fork imports the copy
    os.environ["CI"] = "true"  # the tests' own profile then has the same examples each time
    hypothesis.settings.register_profile(
        "mutants",
        database=None,
        deadline=None,
        derandomize=True,
        max_examples=25,
        phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),  # no time for shrinking
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    hypothesis.settings.load_profile("mutants")
    for module in FOREIGN:
        import_module(module)


def main(arguments: list[str]) -> int:
    """Do what the command line says; return the exit status."""
    targets = [
        target for target in TARGETS if not arguments or any(part in target for part in arguments)
    ]
    with tempfile.TemporaryDirectory() as directory:
        try:
            prepare(directory)
            return 0 if examine(targets) else 1
        except MutantsError as error:
            print(error, file=sys.stderr)
            return 1
        finally:
            os.chdir(ROOT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
