"""What every section of the configuration file is like."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A section of the file: frozen, and an unknown key is an error. `name: 12` is the text "12"."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, coerce_numbers_to_str=True)
