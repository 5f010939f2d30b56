"""What can go wrong with a training run's processes, and whether it goes on: each fault is one function of the run.

A function injects its fault, heals what does not heal by itself, waits until the run goes on, and returns what it found.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from sojourn.bench.chaos.training import TrainingRun
from sojourn.bench.chaos.trial import Found
from sojourn.bench.load.shards import eventually
from sojourn.errors import SojournError

REPLACED_S = 10.0
GOES_ON_S = 90.0
SPILLED_BYTES = 200_000
LOADED_STEPS = 2_000  # accepted at each number of replicas, at least

TrainingFault = Callable[[TrainingRun], Found]


def kill_actor(run: TrainingRun) -> Found:
    """kill -9 of an actor's process; the launcher replaces it."""
    return _replaced(run, "actor-0")


def kill_learner(run: TrainingRun) -> Found:
    """kill -9 of the learner; it goes on from its last checkpoint, and actors never stop."""
    return _replaced(run, "learner-0")


def kill_learner_with_leases(run: TrainingRun) -> Found:
    """kill -9 of a learner that has drawn batches of a consuming table and not consumed them."""
    found = replace(_replaced(run, "learner-0"), lost=0)  # what was consumed leaves holes: the counters alone tell of losses here
    redelivered = sum(info.tables[0].redelivered_items for info in run.infos())
    broken = found.broken if redelivered else f"{found.broken}; nothing was delivered again".strip("; ")
    return replace(found, said=f"{found.said}; {redelivered} items were delivered again", broken=broken)


def kill_everything(run: TrainingRun) -> Found:
    """kill -9 of every process, then `sojourn resume`."""
    before = run.standing()
    since_s = run.kill_everything()
    run.resume()
    return _found(run, since_s, before, "")


def kill_spilling_actor(run: TrainingRun) -> Found:
    """The replay is gone until an actor's memory is full and it writes to disk; then the actor dies too."""
    return _spilled(run, damages=False)


def damage_spill(run: TrainingRun) -> Found:
    """As above, and a byte of the file is changed before anybody reads it."""
    return _spilled(run, damages=True)


def _spilled(run: TrainingRun, *, damages: bool) -> Found:
    run.kill_singly("replay-0")
    spill = run.folder / "spill"
    eventually(lambda: sum(file.stat().st_size for file in spill.glob("*.spill")) > SPILLED_BYTES, "a spill file", GOES_ON_S)
    since_s = run.kill_singly("actor-0")
    (file,) = spill.glob("*.spill")
    size = file.stat().st_size
    if damages:
        with file.open("r+b") as body:
            body.seek(size // 2)
            byte = body.read(1)
            body.seek(size // 2)
            body.write(bytes([byte[0] ^ 0x55]))
    run.start_role("replay-0")
    eventually(lambda: bool(run.infos()), "the replay service", GOES_ON_S)
    before = run.standing()
    run.start_role("actor-0")
    eventually(lambda: not list(spill.glob(f"{file.stem}.spill")), "the spill file to be delivered", GOES_ON_S)
    found = _found(run, since_s, before, f"{size:,} bytes had been spilled")
    if not damages:
        return found
    aside = [left.name for left in spill.iterdir() if "damaged" in left.name]
    broken = found.broken if aside else f"{found.broken}; the damaged file was not put aside".strip("; ")
    said = f"{found.said}; put aside: {', '.join(aside)}"
    return replace(found, lost=0, left_out=found.lost, said=said, broken=broken)  # what is damaged was never acknowledged


def scale_actors(run: TrainingRun) -> Found:
    """From one actor to eight and down to two, under load."""
    return _scaled(run, "actors", (1, 8, 2), lambda wanted: run.actors() == wanted)


def scale_shards(run: TrainingRun) -> Found:
    """From one replay shard to four and down to two, under load."""
    return _scaled(run, "replay", (1, 4, 2), lambda wanted: run.taking() == wanted)


def _scaled(run: TrainingRun, what: str, course: Sequence[int], arrived: Callable[[int], bool]) -> Found:
    """Each number of replicas takes part in the load for a while; what acknowledgements took is read before the next."""
    p99_s = []
    for wanted in course:
        run.scale(what, wanted)
        eventually(partial(arrived, wanted), f"{what}={wanted}", GOES_ON_S)
        run.until_it_learns(LOADED_STEPS)
        p99_s.append(run.acknowledgement_p99_s())
    before, since_s = run.standing(), time.monotonic()
    said = f"{what} {' to '.join(map(str, course))}; acknowledgements p99 {', '.join(f'{one:.2f}' for one in p99_s)} s"
    return _found(run, since_s, before, said)


def end_role(role: str) -> TrainingFault:
    """SIGTERM to a role that runs by itself; a new life of it is started."""

    def end(run: TrainingRun) -> Found:
        took_s = run.end(role)
        since_s, before = time.monotonic(), run.standing()
        run.start_role(role)
        found = _found(run, since_s, before, f"ended within {took_s:.1f} s")
        return (
            replace(found, broken=f"{found.broken}; it took {took_s:.1f} s to end".strip("; ")) if took_s > REPLACED_S else found
        )

    return end


def _replaced(run: TrainingRun, role: str) -> Found:
    before, pid = run.standing(), run.pid(role)
    since_s = run.kill(role)
    eventually(lambda: run.pid(role) not in (0, pid), f"another {role}", GOES_ON_S)
    replaced_s = time.monotonic() - since_s
    found = _found(run, since_s, before, f"replaced after {replaced_s:.1f} s")
    late = f"replaced only after {replaced_s:.1f} s" if replaced_s > REPLACED_S else ""
    return replace(found, broken="; ".join(part for part in (found.broken, late) if part))


def _found(run: TrainingRun, since_s: float, before: tuple[int, int], said: str) -> Found:
    """Wait until inserts and learner steps have gone beyond what they were, and look what the replay holds."""
    first_insert_s = _until(lambda: run.standing()[0] > before[0], since_s)
    first_sample_s = _until(lambda: run.standing()[1] > before[1], since_s)
    try:
        held = run.holdings()
        counted = run.standing()[0]
    except SojournError as error:
        return Found(0, 0, 0, 0, first_insert_s, first_sample_s, said, str(error))
    broken = [] if counted >= before[0] else [f"{before[0]} steps had been accepted, {counted} are counted"]
    broken += [
        f"no {what} within {GOES_ON_S:g} s"
        for what, at_s in (("insert", first_insert_s), ("learner step", first_sample_s))
        if at_s is None
    ]
    broken += [f"{held.alike} steps have the observation of another: seeds were not unique"] if held.alike else []
    return Found(
        lost=held.missing + max(0, before[0] - counted),
        doubled=held.doubled,
        left_out=0,
        steps=held.steps,
        first_insert_s=first_insert_s,
        first_sample_s=first_sample_s,
        said=said,
        broken="; ".join(broken),
    )


def _until(holds: Callable[[], bool], since_s: float) -> float | None:
    try:
        eventually(holds, "the run to go on", GOES_ON_S)
    except SojournError:
        return None
    return time.monotonic() - since_s
