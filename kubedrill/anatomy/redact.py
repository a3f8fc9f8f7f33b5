"""Nothing secret is told: paths are, what is in the files is not."""

from __future__ import annotations

import re
from typing import Any

HIDDEN = "<secret>"
# --azure-token, bootstrapToken, etcd's --initial-cluster-token; not tokenCacheTTL or enable-bootstrap-token-auth.
_NAME = re.compile(r"(token|password|passwd|passphrase|secret|credentials?)$", re.IGNORECASE)
_TEXT = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"),  # a JSON web token
    re.compile(r"(?<![\w./-])[a-z0-9]{6}\.[a-z0-9]{16}(?![\w./-])"),  # a bootstrap token
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),  # a user and a password in a URL
    re.compile(r"(?i)(?<=bearer )[\w.~+/=-]{8,}"),
)


def value(name: str, text: str) -> str:
    """The value of a flag or field, unless it is a secret.

    Args:
        name: of the flag or field.
        text: its value.
    """
    if _NAME.search(name) and text not in ("", "true", "false") and not text.startswith("/"):
        return HIDDEN
    return scrub(text)


def scrub(text: str) -> str:
    """The text without keys and tokens."""
    for pattern in _TEXT:
        text = pattern.sub(HIDDEN, text)
    return text


def tree(data: Any, name: str = "") -> Any:
    """Data of JSON or TOML with every secret replaced."""
    if isinstance(data, dict):
        return {key: tree(item, str(key)) for key, item in data.items()}
    if isinstance(data, list):
        return [tree(item, name) for item in data]
    return value(name, data) if isinstance(data, str) else data
