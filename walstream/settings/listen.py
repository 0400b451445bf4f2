"""An address to listen on, written ``host:port``. Pure: no name is looked up."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*", re.IGNORECASE)
_NUMBERS = re.compile(r"[0-9.]+")


@dataclass(frozen=True, slots=True)
class Listen:
    """A host, by name or address, and a port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Listen:
        """Understand ``host:port``; ``ValueError`` says what is wrong with it."""
        host, colon, port = text.rpartition(":")
        if not colon or not host:
            raise ValueError("it is not of the form host:port")
        if not (port.isascii() and port.isdecimal() and len(port) <= 5 and 1 <= int(port) <= 65535):
            raise ValueError("the port is not a number from 1 to 65535")
        return cls(_host(host), int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _host(text: str) -> str:
    bracketed = text.startswith("[") and text.endswith("]")
    inner = text[1:-1] if bracketed else text
    if bracketed or _NUMBERS.fullmatch(text):
        version = 6 if bracketed else 4
        try:
            if ip_address(inner).version == version and "%" not in inner:
                return inner
        except ValueError:
            pass
        raise ValueError(f"not an IPv{version} address: {inner!r}")
    if ":" in text:
        raise ValueError("an IPv6 address stands in brackets")
    if not _NAME.fullmatch(text):
        raise ValueError("not the name of a host")
    return text
