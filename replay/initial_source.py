"""Which experience does `replay.initial` name? Looks at the file system and at what Minari has on this machine."""

from pathlib import Path

from replay.initial_experience import InitialSource
from replay.initial_minari import MinariSource
from replay.initial_parquet import ParquetSource
from sojourn.errors import ConfigError


def initial_source(name: str) -> InitialSource:
    """The source that `replay.initial` names: a folder of `sojourn export`, or a Minari dataset by folder or id. Raises ConfigError."""
    folder = Path(name)
    if files := sorted(folder.glob("*.parquet")):
        return ParquetSource(name, files)
    if found := next((path for path in (folder / "data", folder) if (path / "metadata.json").is_file()), None):
        return MinariSource(name, found)
    if not folder.exists() and (local := _local_dataset(name)):
        return MinariSource(name, local)
    what = "holds neither Parquet files nor a Minari dataset" if folder.exists() else "is no folder, nor a local Minari dataset"
    raise ConfigError(f"replay.initial: {name!r} {what}; give what `sojourn export` wrote, or a Minari dataset's folder or id")


def _local_dataset(name: str) -> Path | None:
    """Folder of a dataset that Minari has on this machine; None without Minari or the dataset."""
    try:
        from minari.storage.datasets_root_dir import get_dataset_path
    except ImportError:
        return None
    path: Path = get_dataset_path(name) / "data"
    return path if (path / "metadata.json").is_file() else None
