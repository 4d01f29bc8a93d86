"""Keys and passwords: read from the environment, and kept out of every text."""

from __future__ import annotations

import base64
import html
import json
import os
import re
import unicodedata
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus, unquote, urlsplit
from urllib.request import getproxies

from core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

_MASK = "[secret]"
_ODD = re.compile(r"[^!-~]|[\"']")  # a header's value is visible ASCII; quotes are the shell's


def read_key(variable: str) -> str:
    """Return the key that an environment variable holds, without spaces around it; "" if none.

    A file that `echo` wrote ends in a line break, and so does a key read from it.

    Raises:
        ConfigError: a character in it that no key has. The message names it and shows no key.
    """
    key = os.environ.get(variable, "").strip()
    if odd := _ODD.search(key):
        name = unicodedata.name(odd[0], f"control character U+{ord(odd[0]):04X}").lower()
        message = (
            f"the key in the environment variable {variable} contains a character that no key has "
            f"({name}): set it to the key alone, without quotes, 'Bearer' or line breaks"
        )
        raise ConfigError(message)
    return key


def passwords(url: str) -> list[str]:
    """Return what is secret in a server's address, and in those of the proxies on the way to it."""
    found = []
    for address in (url, *getproxies().values()):
        try:
            parts = urlsplit(address if "://" in address else f"http://{address}")
        except ValueError:
            continue
        if parts.password:
            user, password = unquote(parts.username or ""), unquote(parts.password)
            found += [password, parts.password, _base64(f"{user}:{password}")]
    return found


def redacted(text: str, secrets: Iterable[str]) -> str:
    """Return a text without the secrets, as they are, escaped, URL-encoded or in base64."""
    forms = {form for secret in secrets if secret for form in _forms(secret)}
    if not forms:
        return text
    longest_first = sorted(forms, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, longest_first)), _MASK, text, flags=re.IGNORECASE)


def _forms(secret: str) -> set[str]:
    raw = secret.encode()
    return {
        secret,
        repr(secret)[1:-1],
        json.dumps(secret)[1:-1],
        html.escape(secret),
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
        _base64(secret),
        base64.urlsafe_b64encode(raw).decode().rstrip("="),
    }


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode().rstrip("=")
