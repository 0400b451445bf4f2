"""Bech32 (BIP 173) as age uses it: bytes as text that a typo cannot change into other bytes.

The part in front of the last ``1`` names what the text is; six characters at the end are a checksum, which
finds every error of up to four characters. There is no limit of length. Pure.
"""

from __future__ import annotations

from catalog.errors import Malformed

_LETTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUE_OF = {letter: value for value, letter in enumerate(_LETTERS)}
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM = 6


def encode(prefix: str, data: bytes) -> str:
    """The text of these bytes, in small letters."""
    values = _regroup(data, 8, 5, pad=True)
    residue = _checksum([*_spread(prefix), *values, *[0] * _CHECKSUM]) ^ 1
    check = [residue >> 5 * (_CHECKSUM - 1 - place) & 31 for place in range(_CHECKSUM)]
    return f"{prefix}1{''.join(_LETTERS[value] for value in values + check)}"


def decode(text: str) -> tuple[str, bytes]:
    """The prefix, in the case of the text, and the bytes; ``Malformed`` says what is wrong, but never the text."""
    if text != text.lower() and text != text.upper():
        raise Malformed("it mixes capital and small letters")
    prefix, one, rest = text.lower().rpartition("1")
    if not one or not prefix:
        raise Malformed("it has nothing in front of a '1'")
    if len(rest) < _CHECKSUM:
        raise Malformed("it is too short")
    strange = next((letter for letter in rest if letter not in _VALUE_OF), None)
    if strange is not None or not all("!" <= letter <= "~" for letter in prefix):
        raise Malformed("it has a letter that cannot be in it")
    values = [_VALUE_OF[letter] for letter in rest]
    if _checksum([*_spread(prefix), *values]) != 1:
        raise Malformed("its checksum does not fit: a letter is wrong, or some are missing")
    return text[: len(prefix)], bytes(_regroup(values[:-_CHECKSUM], 5, 8, pad=False))


def _spread(prefix: str) -> list[int]:
    return [*(ord(letter) >> 5 for letter in prefix), 0, *(ord(letter) & 31 for letter in prefix)]


def _checksum(values: list[int]) -> int:
    residue = 1
    for value in values:
        top, residue = residue >> 25, (residue & 0x1FFFFFF) << 5 ^ value
        for place, factor in enumerate(_GENERATOR):
            residue ^= factor if top >> place & 1 else 0
    return residue


def _regroup(values: bytes | list[int], width: int, wanted: int, *, pad: bool) -> list[int]:
    """Groups of ``width`` bits as groups of ``wanted``; what is over at the end is zeros, and no whole group."""
    held, bits, found = 0, 0, []
    for value in values:
        held, bits = held << width | value, bits + width
        while bits >= wanted:
            bits -= wanted
            found.append(held >> bits & (1 << wanted) - 1)
            held &= (1 << bits) - 1
    if pad:
        return [*found, held << wanted - bits] if bits else found
    if held or bits >= width:
        raise Malformed("its last letter has bits that belong to nothing")
    return found
