"""The door: who a client is, whether it speaks our contract, run and schema, and which incarnation it is granted.

Network I/O only through the durable tier. Every refusal is a ContractError or ValidationError that holds the values.
"""

import asyncio
import re
from dataclasses import dataclass, replace

from replay.answers import Stream
from replay.arrow import stored_columns
from replay.client_records import Identity
from replay.fences import field_of
from replay.ingest import Ingest
from replay.sampling import Sampling
from replay.shard import Shard, row_bytes, table_bytes
from sojourn.columns import Schema, space_to_json
from sojourn.errors import ConfigError, ContractError, SojournError, UnavailableError, ValidationError
from sojourn.rpc import CONTRACT_VERSION, OLDEST_CONTRACT

LARGEST_INCARNATION = 1 << 62
LONGEST_NAME = 1_000  # host, pool, environment ...: kept with every life
CLIENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@-]{0,127}")


@dataclass(frozen=True)
class Hello:
    """What a client says. schema_json: empty unless it is an actor.  Incarnations: 0 is none."""

    contract_version: int
    run_id: str
    client_id: str
    identity: Identity
    last_incarnation: int = 0
    inherit_incarnation: int = 0
    schema_json: bytes = b""


@dataclass(frozen=True)
class Welcome:
    """What it is granted. last_message_number: the last of that life that the shard has durably."""

    incarnation: int
    last_message_number: int


class Door:
    """Answers Hello. One schema is learnt, from the first actor; every later one must match it."""

    def __init__(self, shard: Shard, ingest: Ingest, sampling: Sampling) -> None:
        self._shard = shard
        self._ingest = ingest
        self._sampling = sampling
        self._one_schema = asyncio.Lock()

    async def hello(self, hello: Hello) -> Welcome:
        """Open or continue a life. Waits while the durable tier is down. Raises ContractError, ValidationError, UnavailableError."""
        check_speaks(hello, self._shard.run_id)
        self._shard.require_recovered()
        if hello.identity.role == "actor":
            await self._agree_on_schema(hello)
        stream = await self._life(hello)
        now_s = self._shard.clock.now_s()
        self._shard.clients.hello(*stream, hello.identity, now_s)
        if hello.identity.role == "actor":
            self._shard.starts.opened(stream, hello.identity.pool, hello.identity.speed_class, now_s)
        return Welcome(stream[1], self._shard.fences[stream].stored)

    async def _agree_on_schema(self, hello: Hello) -> None:
        if not hello.schema_json:
            raise ValidationError(f"{hello.client_id} is an actor and sent no schema")
        schema = readable_schema(hello.schema_json)
        async with self._one_schema:
            if self._shard.schema is None:
                await self._learn(schema)
            elif self._shard.schema.fingerprint != schema.fingerprint:
                raise ContractError(
                    f"{hello.client_id} has another schema than this run: {difference(self._shard.schema, schema)}"
                )

    async def _learn(self, schema: Schema) -> None:
        try:
            store = self._shard.make_store(schema)
        except ConfigError as error:
            raise ContractError(str(error)) from error
        if self._shard.tier is not None:
            await self._shard.tier.learn_schema(schema.to_json(), table_bytes(self._shard.config, row_bytes(schema)))
        self._shard.install(schema, store)

    async def _life(self, hello: Hello) -> Stream:
        fences = self._shard.fences
        if hello.inherit_incarnation:
            stream = (hello.client_id, hello.inherit_incarnation)
            fences.go_on(stream, hello.last_incarnation)
            return stream
        if hello.identity.role == "actor" and self._shard.counts.retired:
            raise UnavailableError(f"shard {self._shard.index} is retired and opens no new lives; say hello to another shard")
        stream = fences.open_new(hello.client_id, hello.last_incarnation, int(self._shard.clock.unix_s() * 1e6))
        await self._remember(stream, hello.identity)
        if hello.identity.role == "actor":
            self._ingest.replace(*stream)
        if hello.identity.role == "learner":
            self._sampling.replace(*stream)
            if hello.identity.rank == 0:
                self._shard.admission.learner_began()
        return stream

    async def _remember(self, stream: Stream, identity: Identity) -> None:
        """Keep an actor's life before it is granted: its rows will be fenced by it, also after a restart."""
        if self._shard.tier is not None and identity.role == "actor":
            name = field_of(stream)
            self._shard.lives[name] = identity.to_json()
            await self._shard.tier.learn_client(name, self._shard.lives[name], self._shard.fences[stream].to_text())


def check_speaks(hello: Hello, run_id: str) -> None:
    """Contract version, run and names. Raises ContractError or ValidationError."""
    if hello.contract_version < OLDEST_CONTRACT:
        raise ContractError(
            f"contract version {hello.contract_version} of {hello.client_id!r} is too old: this service speaks "
            f"{OLDEST_CONTRACT} to {CONTRACT_VERSION}; upgrade the client"
        )
    if hello.run_id and hello.run_id != run_id:
        raise ContractError(f"{hello.client_id!r} belongs to run {hello.run_id!r}, this service holds run {run_id!r}")
    if not CLIENT_ID.fullmatch(hello.client_id):
        raise ValidationError(f"client_id must be 1 to 128 letters, digits or _.:@-, got {hello.client_id[:200]!r}")
    if max(hello.last_incarnation, hello.inherit_incarnation) >= LARGEST_INCARNATION:
        raise ValidationError(f"an incarnation is a number of microseconds below {LARGEST_INCARNATION}")
    if hello.identity.rank >= hello.identity.world:
        raise ValidationError(
            f"{hello.client_id} says that it is rank {hello.identity.rank} in a world of {hello.identity.world}: ranks count from 0"
        )
    for name, value in vars(hello.identity).items():
        if isinstance(value, str) and len(value) > LONGEST_NAME:
            raise ValidationError(f"{name} of {hello.client_id} has {len(value)} characters, at most {LONGEST_NAME} are kept")
    if not hello.identity.role:
        raise ValidationError(f"{hello.client_id} did not say its role: actor, learner, evaluator or operator")


def readable_schema(schema_json: bytes) -> Schema:
    """The schema in our own words, its columns settled. Raises ContractError for anything else."""
    schema = Schema.from_json(schema_json)
    try:
        observation, action = space_to_json(schema.observation_space), space_to_json(schema.action_space)
        schema = replace(schema, observation=observation, action=action)
        stored_columns(schema)
    except SojournError as error:
        raise ContractError(f"experience of this schema cannot be stored: {error}") from error
    except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ContractError(f"not an experience schema: {error}") from error  # what Gymnasium says of a malformed space
    return schema


def difference(ours: Schema, theirs: Schema) -> str:
    """Which columns or settings differ, for a person."""
    mine, other = columns_of(ours), columns_of(theirs)
    parts = [
        f"{name} is {other.get(name, 'missing')} there and {mine.get(name, 'missing')} here"
        for name in sorted(mine | other)
        if mine.get(name) != other.get(name)
    ]
    if ours.frame_stack != theirs.frame_stack:
        parts.append(f"frame_stack is {theirs.frame_stack} there and {ours.frame_stack} here")
    if not parts:
        parts = [f"{name} differs" for name, value in vars(ours).items() if value != getattr(theirs, name)]
    return "; ".join(parts)


def columns_of(schema: Schema) -> dict[str, str]:
    return {
        column.name: f"{column.dtype}{list(column.shape)}" + (f" ragged({column.ragged_max})" if column.ragged_max else "")
        for column in stored_columns(schema)
    }
