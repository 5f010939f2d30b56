"""Environments: how they are made by name, what of them is stored, and the small ones that come with Sojourn.

    make_environment(settings)                        any Gymnasium id, "module:Id" or "package.module:factory", wrapped
    schema_of(environment, config, settings)          what its experience looks like
    describe(settings, config)                        the same of one that is made for it and closed
    guarded(call, what)                               whatever its code raises is an EnvironmentFault
    read_extras(settings, info)                       declared extra columns of one step
    render_frame(environment)                         one RGB image, or one line saying how to get it
    resumable(environment)                            its layer that can be saved and restored, or None
    environment_version(name)                         which version of whose code it is

Importing this package registers `sojourn/...` ids with Gymnasium. May import environment code; no network, no files.
"""

from sojourn.environments.describing import describe
from sojourn.environments.extras import read_extras
from sojourn.environments.guarding import guarded
from sojourn.environments.making import make_environment
from sojourn.environments.registry import register
from sojourn.environments.rendering import render_frame
from sojourn.environments.resuming import resumable
from sojourn.environments.stored import schema_of
from sojourn.environments.versions import environment_version

__all__ = [
    "describe",
    "environment_version",
    "guarded",
    "make_environment",
    "read_extras",
    "register",
    "render_frame",
    "resumable",
    "schema_of",
]

register()
