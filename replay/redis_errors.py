"""What does a refusal or a silence of the Redis-compatible server mean to us? Its client library's errors become ours. No I/O."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

from sojourn.errors import ContractError, UnavailableError


class TierFullError(UnavailableError):
    """The server refused to write because its memory or disk is full; nothing was changed."""


class NotOwnerError(ContractError):
    """Another service of this shard has taken over; this one must end."""


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Turn the client library's errors into ours."""
    try:
        yield
    except OutOfMemoryError as error:
        raise TierFullError(f"the Redis server is out of memory: {error}") from error
    except ResponseError as error:
        sentence = str(error)
        if sentence.startswith("NOTOWNER"):
            raise NotOwnerError(sentence) from error
        if sentence.startswith("MISCONF"):
            raise TierFullError(f"the Redis server cannot write to its disk: {error}") from error
        raise UnavailableError(f"the Redis server at {url} refused: {error}") from error
    except (RedisError, OSError) as error:
        raise UnavailableError(f"the Redis server at {url} cannot be reached: {error}") from error


def without_password(url: str) -> str:
    """As it may be shown."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
