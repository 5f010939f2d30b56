"""Which mistakes does no test notice? Runs the collected tests once for each, in a fork of this process: it costs what its tests cost."""

import gc
import importlib
import os
import resource
import time
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import Phase, settings

from benchmarks.mutants.page import described
from benchmarks.mutants.parts import Part
from benchmarks.mutants.planting import Loaded, Mutant, forget_cached, loaded_functions, mutants_of

CPU_FACTOR, CPU_MORE_S = 3, 2  # a mutant may use so many times the processor seconds of the sound tests, and so many more
SOUND_CPU_S = 600
EXAMPLES = 30  # of a property, where its test does not say how many
UNPLANTED = 3  # exit status of a fork


def judged(part: Part) -> dict[str, Any]:
    """What became of a part's mutants, for JSON. Raises SystemExit if its tests fail without any mistake.

    Examples of properties are the same for every mutant, so that a rerun has the same survivors, and have no deadline by the clock.
    """
    phases = [Phase.explicit, Phase.generate]
    settings.register_profile("mutants", derandomize=True, database=None, deadline=None, max_examples=EXAMPLES, phases=phases)
    settings.load_profile("mutants")
    for file in part.files:
        importlib.import_module(file.removesuffix(".py").replace("/", "."))
    judge = Judge(part)
    options = ["-s", "-p", "no:cacheprovider", "-p", "no:warnings", "--timeout=60", "-k", part.expression]
    if status := pytest.main([*options, *part.tests], plugins=[judge]):
        raise SystemExit(int(status))
    return {
        "cpu_s": judge.cpu_s,
        "mutants": {file: sum(mutant.file == file for mutant in judge.mutants) for file in part.files},
        "survivors": [asdict(mutant) for mutant in judge.survivors],
    }


class Judge:
    """pytest plug-in that takes the place of the one run of the collected tests.

    mutants: all that were judged, survivors: those that no test noticed.  cpu_s: processor seconds of all forks.
    """

    def __init__(self, part: Part) -> None:
        self.mutants: list[Mutant] = []
        self.survivors: list[Mutant] = []
        self.cpu_s = 0.0
        self._part = part

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Raises UsageError if the tests fail without any mistake."""
        if any_fails(session, order_by_time=True):  # here, so that what they import and compile is there for every fork
            raise pytest.UsageError("the tests fail on sound code")
        forget_cached()
        survives, sound_cpu_s = outcome(session, None, {}, SOUND_CPU_S)
        if not survives:
            raise pytest.UsageError("the tests pass, but not in a fork of their process")
        limit_s = int(sound_cpu_s * CPU_FACTOR + CPU_MORE_S)
        loaded = loaded_functions()
        gc.freeze()
        for file, only in self._part.files.items():
            for mutant in mutants_of(file, only):
                survives, cpu_s = outcome(session, mutant, loaded, limit_s)
                self.mutants.append(mutant)
                self.cpu_s += cpu_s
                if survives:
                    self.survivors.append(mutant)
                    print(described(**asdict(mutant)), flush=True)
        return True


def outcome(session: pytest.Session, mutant: Mutant | None, loaded: Loaded, limit_s: int) -> tuple[bool, float]:
    """Whether all tests pass with the mistake, in processor seconds below the limit; and how many these were."""
    child = os.fork()
    if child == 0:
        verdict = UNPLANTED
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s))
            if mutant:
                _be_silent()
                mutant.plant(loaded)
            verdict = 1  # also of an exception that goes through pytest
            verdict = int(any_fails(session))
        finally:
            os._exit(verdict)
    _, status, used = os.wait4(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == UNPLANTED:
        raise pytest.UsageError(f"cannot be planted: {mutant}")
    return status == 0, used.ru_utime + used.ru_stime


def _be_silent() -> None:
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)


def any_fails(session: pytest.Session, *, order_by_time: bool = False) -> bool:
    """Run the collected tests up to the first that fails. order_by_time: then put the quickest first, for the next time."""
    took_s = {}
    for item, following in zip(session.items, [*session.items[1:], None], strict=True):
        began_s = time.process_time()
        session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        took_s[item] = time.process_time() - began_s
        if session.testsfailed:
            return True
    if order_by_time:
        session.items.sort(key=took_s.__getitem__)
    return False
