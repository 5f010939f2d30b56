"""Typed configuration: `Config` is the whole file, `sojourn.config.load` reads it. Imports no torch."""

from sojourn.config.schema import Config

__all__ = ["Config"]
