"""What of a configuration or command line must not be shown? Passwords in addresses, and values of keys that sound secret. Pure."""

import re
from collections.abc import Mapping
from typing import Any

_URL_PASSWORD = re.compile(r"(://[^/@\s]*?:)[^/@\s]+@")
_SECRET_KEY = re.compile(r"password|passwd|secret|token$|api_?key", re.IGNORECASE)


def without_secrets(text: str) -> str:
    """Text with the passwords of URLs, and the value of `secret.key=value`, starred."""
    key, equals, value = text.partition("=")
    if equals and value and _SECRET_KEY.search(key):
        return f"{key}=***"
    return _URL_PASSWORD.sub(r"\1***@", text)


def starred(value: Any, key: str = "") -> Any:
    """Nested mappings and lists with every secret starred. key: under which the value stands."""
    if isinstance(value, Mapping):
        return {name: starred(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [starred(inner, key) for inner in value]
    if value and _SECRET_KEY.search(key):
        return "***"
    return without_secrets(value) if isinstance(value, str) else value
