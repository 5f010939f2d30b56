"""gRPC as all rooms use it: contract version, channel options, status codes to our errors and back, reconnect back-off.

The only file besides clients and servicers where protobuf or grpc types may appear.
"""

import random
from collections.abc import Iterator

import grpc

from sojourn.errors import ContractError, DeadlineError, SojournError, UnavailableError, ValidationError

CONTRACT_VERSION = 1
OLDEST_CONTRACT = 1
CHUNK_BYTES = 1 << 20  # parameters travel in pieces of at most this size
HEADROOM_BYTES = 1 << 16  # framing beside a body of max_message_bytes

_TO_STATUS: dict[type[SojournError], grpc.StatusCode] = {
    ContractError: grpc.StatusCode.FAILED_PRECONDITION,
    ValidationError: grpc.StatusCode.INVALID_ARGUMENT,
    UnavailableError: grpc.StatusCode.UNAVAILABLE,
    DeadlineError: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_FROM_STATUS: dict[grpc.StatusCode, type[SojournError]] = {
    **{code: error for error, code in _TO_STATUS.items()},
    grpc.StatusCode.RESOURCE_EXHAUSTED: ValidationError,
    grpc.StatusCode.UNAUTHENTICATED: ContractError,
    grpc.StatusCode.PERMISSION_DENIED: ContractError,
    grpc.StatusCode.UNIMPLEMENTED: ContractError,
    grpc.StatusCode.CANCELLED: UnavailableError,
    grpc.StatusCode.UNKNOWN: UnavailableError,
    grpc.StatusCode.INTERNAL: UnavailableError,
    grpc.StatusCode.ABORTED: UnavailableError,
}


def channel_options(max_message_bytes: int) -> list[tuple[str, int]]:
    """Options of every channel and server: message limits, keep-alive, quick reconnects (at most 1 s apart)."""
    limit = max_message_bytes + HEADROOM_BYTES
    return [
        ("grpc.max_receive_message_length", limit),
        ("grpc.max_send_message_length", limit),
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 5_000),  # how long one attempt may take; a refused one is repeated sooner
        ("grpc.max_reconnect_backoff_ms", 1_000),
        ("grpc.use_local_subchannel_pool", 1),
    ]


def server_options(max_message_bytes: int) -> list[tuple[str, int]]:
    """Options of every server."""
    return [
        *channel_options(max_message_bytes),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ("grpc.so_reuseport", 0),
    ]


def reached_at(listen: str, port: int) -> str:
    """The target under which a server that listens at `listen` with this port is reached from the same network."""
    return listen if listen.startswith("unix:") else f"{listen.rpartition(':')[0]}:{port}"


def status_of(error: SojournError) -> grpc.StatusCode:
    """The status code that a servicer answers with."""
    return next((code for kind, code in _TO_STATUS.items() if isinstance(error, kind)), grpc.StatusCode.INTERNAL)


def error_of(error: grpc.RpcError) -> SojournError:
    """Our error for a failed call, with the server's sentence."""
    kind = _FROM_STATUS.get(error.code(), UnavailableError)
    return kind(error.details() or str(error.code()))


def backoff_s(rng: random.Random, first_s: float = 0.05, most_s: float = 1.0) -> Iterator[float]:
    """Waits between reconnects: doubled each time up to `most_s`, with jitter in [0.5, 1)."""
    wait_s = first_s
    while True:
        yield wait_s * rng.uniform(0.5, 1.0)
        wait_s = min(2 * wait_s, most_s)
