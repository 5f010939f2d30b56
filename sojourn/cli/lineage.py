"""`sojourn lineage`: what was a policy trained on, and where does an item come from? Reads a live or an ended run."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from sojourn.cli.arguments import RunName
from sojourn.errors import ConfigError
from sojourn.readable import count, seconds, share
from sojourn.roles import replay_shards
from sojourn.run_folder import find_run, read_run, run_config

LISTED = 8  # largest shares that are told one by one


def show_lineage(
    run: RunName = None,
    policy_version: Annotated[int | None, typer.Option("--policy-version", min=1, help="A published version.")] = None,
    item: Annotated[int | None, typer.Option("--item", min=1, help="Key of an item.")] = None,
    shard: Annotated[int, typer.Option(min=0, help="The replay shard of the item.")] = 0,
) -> None:
    """Say on which batches a policy version was trained, or where an item comes from and which versions were trained on it."""
    if (policy_version is None) == (item is None):
        raise ConfigError("give one of --policy-version N and --item KEY")
    path = find_run(run)
    lines = told_version(path, policy_version) if policy_version is not None else told_item(path, item or 0, shard)
    for line in lines:
        typer.echo(line)


def told_version(path: Path, policy_version: int) -> list[str]:
    """A version in words. Raises ConfigError for an unknown one."""
    from replay.client import Manifest

    manifest = Manifest(path)
    version = manifest.version(policy_version)
    drawn: Counter[tuple[int, int]] = Counter()
    steps = []
    for batch in manifest.batches(manifest.stretches_of(version)):
        steps.append(batch.learner_step)
        shards = batch.shard if len(batch.shard) else np.zeros(len(batch.key), np.uint16)
        drawn.update(zip(shards.tolist(), batch.key.tolist(), strict=True))
    lines = [
        f"policy version {policy_version}  learner step {version.learner_step}  life {version.life} of the learner",
        f"trained since the version before on {len(steps):,} batches{_from_to(steps)}: "
        f"{sum(drawn.values()):,} items, {len(drawn):,} different ones",
    ]
    if version not in manifest.on(manifest.newest_path()):
        lines.append("put aside: its learner was killed, and went on from a checkpoint before this version")
    return lines + (_told_origins(path, drawn) if drawn else [])


def _told_origins(path: Path, drawn: Mapping[tuple[int, int], int]) -> list[str]:
    """Where items are from that were drawn so often, by shard and key."""
    from replay.client import origins

    config, run_id = run_config(path), read_run(path).run_id
    found = [
        (origin, drawn[shard, key])
        for shard in sorted({shard for shard, _ in drawn})
        for key, origin in origins(path, config, run_id, [key for at, key in drawn if at == shard], shard).items()
    ]
    lines = [f"where from is known of {len(found):,} of them" + ("" if len(found) == len(drawn) else _let_go())]
    if not found:
        return lines
    items, times = zip(*found, strict=True)
    episodes = [f"{item.client_id} lane {item.lane} episode {item.episode}" for item in items]
    return [
        *lines,
        f"by actor           {_shares([item.client_id for item in items], times)}",
        f"by policy version  {_shares([item.policy_version for item in items], times)}",
        f"by episode         {len(set(episodes)):,} episodes: {_shares(episodes, times)}",
        f"durations          {_durations(np.repeat([item.duration_s for item in items], times))}",
    ]


def told_item(path: Path, key: int, shard: int) -> list[str]:
    """An item in words. Raises ConfigError for one of which nothing is known."""
    from replay.client import Manifest, origins

    config = run_config(path)
    shards = len(replay_shards(config, path).addresses)
    if shard >= shards:
        raise ConfigError(f"{path} has {shards} replay shards, numbered from 0: there is no shard {shard}")
    uses = Manifest(path).uses(key, shard) if config.lineage != "off" else []
    origin = origins(path, config, read_run(path).run_id, [key], shard).get(key)
    if origin is None and not uses:
        raise ConfigError(
            f"nothing is known of item {key} of shard {shard}: no row of that number is kept, and no update was made with it"
        )
    lines = [f"item {key} of shard {shard}" + ("" if origin else f"  where from is not known{_let_go()}")]
    if origin is not None:
        who = origin.identity
        environment = " ".join(part for part in (who.environment_id, who.environment_version) if part)
        lines += [
            f"actor        {origin.client_id}, life {origin.incarnation}, on {who.host or 'a host that it did not name'}",
            f"environment  {environment or 'not named'}, run seed {who.seed}",
            f"where        lane {origin.lane}, episode {origin.episode}, row {origin.lane_sequence} of the lane",
            f"chosen by    policy version {origin.policy_version}",
            f"duration     {seconds(origin.duration_s)}",
        ]
    kept = [use for use in uses if not use.put_aside]
    lines.append(f"trained on   in {count(len(kept))} updates{_from_to([use.learner_step for use in kept])}")
    versions = sorted({use.version for use in kept if use.version is not None})
    if versions:
        lines.append(f"versions     first in policy version {versions[0]}, last drawn for {versions[-1]}")
    if len(uses) > len(kept):
        lines.append(f"put aside    {len(uses) - len(kept)} updates of learners that were killed after their last checkpoint")
    return lines


def _from_to(steps: Sequence[int]) -> str:
    return f" (learner steps {min(steps):,} to {max(steps):,})" if steps else ""


def _let_go() -> str:
    return ": the rows have left the table, and are archived with lineage: full only"


def _shares(names: Sequence[object], times: Sequence[int]) -> str:
    """The largest shares, of draws."""
    counts: Counter[object] = Counter()
    for name, drawn in zip(names, times, strict=True):
        counts[name] += drawn
    total = sum(times)
    told = ", ".join(f"{name} {share(drawn / total)}" for name, drawn in counts.most_common(LISTED))
    return told + (f", {len(counts) - LISTED:,} others" if len(counts) > LISTED else "")


def _durations(duration_s: np.ndarray) -> str:
    middle, high = np.quantile(duration_s, [0.5, 0.99])
    return f"mean {seconds(float(duration_s.mean()))}, median {seconds(float(middle))}, 99 % {seconds(float(high))}, longest {seconds(float(duration_s.max()))}"
