"""Every error that Sojourn raises on purpose.

SojournError
  |- ConfigError            the configuration cannot work; names the line and the nearest valid key
  |- EnvironmentFault       an environment broke its promise (unknown id, NaN, changed shape, exception)
  |- ContractError          the other side speaks another contract, run, schema or role
  |- ValidationError        a message was refused at the door; nothing of it was stored
  |- UnavailableError       a service cannot be reached or has lost its durable tier; try again
  |- CheckpointError        a checkpoint or archive cannot be written, or is truncated or foreign
  |- DeadlineError          an answer did not come in time
  |- HungError              an environment of this process does not return; only a new process helps

A message says what happened, with which values, and what to try. `exit_code` is what the command line ends with.
"""

INTERRUPTED = 130
"""Exit code where a person ended the program at once; the shell's for SIGINT."""


class SojournError(Exception):
    """Base of all; shown to a user as one message, without a stack trace."""

    exit_code = 1


class ConfigError(SojournError):
    """The configuration cannot work. Raised before any process starts."""

    exit_code = 2


class EnvironmentFault(SojournError):
    """An environment is unknown or broke its promise."""

    exit_code = 3


class ContractError(SojournError):
    """The other side speaks another contract version, run, schema or role."""

    exit_code = 4


class ValidationError(SojournError):
    """A message was refused at the door; nothing of it was stored."""


class UnavailableError(SojournError):
    """A service cannot be reached, or its durable tier is down. Trying again may work."""

    exit_code = 5


class CheckpointError(SojournError):
    """A checkpoint or archive cannot be written, or is truncated or foreign."""

    exit_code = 6


class DeadlineError(SojournError):
    """An answer did not come within its deadline."""


class HungError(SojournError):
    """An environment of this process does not return. The role's supervisor ends the process and starts another."""

    exit_code = 7
