"""Connection strings: showing them without their secrets. Pure; connecting is libpq's business.

Both forms of PostgreSQL's manual are known, ``key=value`` pairs and URIs. Where a text follows
neither, more is hidden rather than less.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

HIDDEN = "*****"
SECRETS = frozenset(
    ("password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key")
)

_PAIR = re.compile(
    r"\s*([^\s=]+)\s*=\s*('(?:[^'\\]|\\.)*'|(?:[^\s'\\]|\\.)(?:[^\s\\]|\\.)*|)(?=\s|$)", re.DOTALL
)


class Conninfo(str):
    """A connection string whose ``repr`` hides its secrets; ``str`` is the string itself, for libpq."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(masked(self))


def is_uri(conninfo: str) -> bool:
    """Whether the string is of the URI form."""
    return conninfo.startswith(("postgresql://", "postgres://"))


def masked(conninfo: str) -> str:
    """The connection string with each secret replaced by asterisks, all else as it was."""
    return _masked_uri(conninfo) if is_uri(conninfo) else _masked_pairs(conninfo)


def _masked_pairs(conninfo: str) -> str:
    shown: list[str] = []
    end = 0
    while conninfo[end:].strip():
        match = _PAIR.match(conninfo, end)
        if match is None:
            return "".join(shown) + (" " if shown else "") + HIDDEN
        keep = match.start(2) if match[1].lower() in SECRETS else match.end()
        shown.append(conninfo[end:keep] + (HIDDEN if keep < match.end() else ""))
        end = match.end()
    return "".join(shown) + conninfo[end:]


def _masked_uri(conninfo: str) -> str:
    """Up to the last ``@`` all behind the first colon may belong to a password that is not escaped."""
    scheme, _, rest = conninfo.partition("://")
    credentials, at, location = rest.rpartition("@")
    user, colon, _ = credentials.partition(":")
    hidden = colon + HIDDEN if colon else ""
    return f"{scheme}://{_masked_parameters(user)}{hidden}{at}{_masked_parameters(location)}"


def _masked_parameters(text: str) -> str:
    address, *parameters = re.split(r"(?=[?&])", text)
    return address + "".join(map(_masked_parameter, parameters))


def _masked_parameter(parameter: str) -> str:
    key, equals, _ = parameter.partition("=")
    if not equals:
        return parameter[0] + HIDDEN
    return f"{key}={HIDDEN}" if unquote(key[1:]).strip().lower() in SECRETS else parameter
