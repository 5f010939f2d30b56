"""One command to a Redis-compatible server on a Unix socket, in its own protocol. Blocks for the answer."""

import socket
from pathlib import Path

from sojourn.errors import UnavailableError

ANSWER_S = 60.0
MOST_BYTES = 65_536


def tell_server(path: Path, *words: str) -> bytes:
    """Send a command and return the answer as it came, which must fit one packet. Raises UnavailableError for an error."""
    request = b"".join([b"*%d\r\n" % len(words), *(b"$%d\r\n%s\r\n" % (len(word), word.encode()) for word in words)])
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_S)
        try:
            connection.connect(str(path))
            connection.sendall(request)
            answer = connection.recv(MOST_BYTES)
        except OSError as error:
            raise UnavailableError(f"the Redis server at {path} cannot be reached: {error}") from error
    if answer.startswith(b"-"):
        raise UnavailableError(f"the Redis server at {path} refused {' '.join(words)}: {answer.decode().strip()}")
    return answer
