"""Which version of whose code is an environment? For lineage: the package that holds it, and that package's version.

Looks at Gymnasium's registry and at what is imported; imports nothing, makes nothing.
"""

import importlib.metadata
import sys

import gymnasium as gym


def environment_version(name: str) -> str:
    """ "gymnasium 1.2.0" for "Pendulum-v1"; the package alone where it has no version, as a file of the user's.

    name: as `environment.id` gives it, of an environment that was made before.
    """
    module, _, attribute = name.rpartition(":")
    spec = gym.registry.get(attribute)
    if spec is not None:
        entry_point = spec.entry_point
        module = entry_point.partition(":")[0] if isinstance(entry_point, str) else getattr(entry_point, "__module__", "")
    package = module.partition(".")[0]
    return f"{package} {_version_of(package)}".strip()


def _version_of(package: str) -> str:
    """What the package says of itself, else its distribution of the same name."""
    said = getattr(sys.modules.get(package), "__version__", "")
    if said:
        return str(said)
    try:
        return importlib.metadata.version(package)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return ""
