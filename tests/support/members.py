"""Members: a sink that collects them, archives made of them, and strategies for both."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import strategies as st

from backup.tar import END, Kind, Member, format_header, padding

Content = tuple[Member, bytes]


class Collected:
    """A member sink that keeps members and their data, and minds the order of the calls."""

    def __init__(self) -> None:
        self.members: list[Content] = []
        self._open: Member | None = None
        self._data = bytearray()

    def begin(self, member: Member) -> None:
        assert self._open is None
        self._open = member

    def data(self, view: memoryview) -> None:
        assert self._open is not None
        assert len(view) > 0
        self._data += view

    def end(self) -> None:
        assert self._open is not None
        assert len(self._data) == self._open.size
        self.members.append((self._open, bytes(self._data)))
        self._open = None
        self._data.clear()


def archive(contents: Iterable[Content]) -> bytes:
    """The tar archive of some members."""
    blocks = [format_header(member) + data + bytes(padding(len(data))) for member, data in contents]
    return b"".join(blocks) + END


def file(name: str, data: bytes = b"", mode: int = 0o600) -> Content:
    """A plain file as a member."""
    return Member(name, Kind.FILE, len(data), mode), data


def directory(name: str, mode: int = 0o700) -> Content:
    """A directory as a member."""
    return Member(name, Kind.DIRECTORY, mode=mode), b""


def _decoded(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


parts = (
    st.binary(min_size=1, max_size=20)
    .filter(lambda raw: raw not in (b".", b"..") and not set(raw) & {0, 0x2F})
    .map(_decoded)
)
names = st.lists(parts, min_size=1, max_size=4).map("/".join)
contents = st.one_of(
    st.builds(file, names, st.binary(max_size=1100), st.integers(0, 0o777)),
    st.builds(directory, names, st.integers(0, 0o777)),
    st.builds(lambda name, link: (Member(name, Kind.SYMLINK, link=link), b""), names, names),
)
