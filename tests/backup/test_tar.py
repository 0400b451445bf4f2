import io
import lzma
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cuts import truncations, ways
from support.members import Collected, Content, archive, contents, directory, file

from backup.tar import END, Kind, Member, TarParser, format_header, padding, parse_header
from catalog.errors import Corrupt, Malformed

DATA = Path(__file__).parent.parent / "data"
SAMPLE = archive(
    [
        file("backup_label", b"START WAL LOCATION"),
        directory("pg_wal"),
        file("empty"),
        file("block", bytes(range(256)) * 2),
        (Member("pg_tblspc/16384", Kind.SYMLINK, mode=0o777, link="/srv/fast"), b""),
        file("global/pg_control", b"\xff" * 700),
    ]
)


def push(pieces: list[memoryview] | list[bytes]) -> list[Content]:
    collected = Collected()
    parser = TarParser(collected)
    for piece in pieces:
        parser.write(piece)
    parser.finish()
    return collected.members


def forged(at: int, value: bytes, *, header: bytes = format_header(Member("name"))) -> bytes:
    """An archive of one member, some bytes of its header replaced and the checksum made right."""
    block = bytearray(header)
    block[at : at + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%07o " % sum(block)
    return bytes(block) + END


def test_members_do_not_depend_on_how_the_archive_was_cut() -> None:
    expected = push([SAMPLE])
    assert [member.name for member, _ in expected][-1] == "global/pg_control"
    for pieces in ways(SAMPLE):
        assert push(pieces) == expected


def test_an_archive_cut_short_anywhere_is_corrupt() -> None:
    for beginning in truncations(SAMPLE):
        with pytest.raises(Corrupt, match="ends early"):
            push([beginning])


def test_a_member_ends_with_its_last_byte_and_does_not_wait_for_the_padding() -> None:
    collected = Collected()
    TarParser(collected).write(format_header(Member("a", size=3)) + b"abc")
    assert len(collected.members) == 1


def test_zeros_may_follow_the_end_of_an_archive() -> None:
    assert push([SAMPLE, bytes(9000)]) == push([SAMPLE])


def test_an_archive_without_members_is_nothing_but_its_end() -> None:
    assert push([END]) == []


@pytest.mark.parametrize("rest", [b"x", bytes(700) + b"x", format_header(Member("late"))])
def test_anything_behind_the_end_is_corrupt(rest: bytes) -> None:
    with pytest.raises(Corrupt, match="behind its end"):
        push([SAMPLE, rest])


def test_one_block_of_zeros_alone_is_not_an_end() -> None:
    with pytest.raises(Corrupt, match="behind its end"):
        push([bytes(512), format_header(Member("a")), END])


@pytest.mark.parametrize("at", [0, 101, 125, 148, 256, 258, 300, 511])
def test_a_damaged_header_is_corrupt(at: int) -> None:
    damaged = bytearray(SAMPLE)
    damaged[at] ^= 0x01
    with pytest.raises(Corrupt, match="checksum"):
        push([bytes(damaged)])


@pytest.mark.parametrize(
    "name",
    [*b"/etc/passwd .. ../x a/../b a/.. . a/./b a//b ././a ./../a ./ a/ ./a/ .//a".split(), b""],
)
def test_a_name_that_could_lead_outside_is_corrupt(name: bytes) -> None:
    with pytest.raises(Corrupt, match="out of its directory"):
        push([forged(0, name.ljust(5, b"\0"))])


def test_a_leading_dot_of_a_name_is_no_offence() -> None:
    names = [".hidden", "..data", "a/...", "a.", "b.."]
    assert [member.name for member, _ in push([archive(map(file, names))])] == names


@pytest.mark.parametrize("flag", [b"1", b"3", b"4", b"6", b"7", b"x", b"g", b"L", b"K", b"S", b"\0"])
def test_hard_links_devices_and_extensions_are_corrupt(flag: bytes) -> None:
    with pytest.raises(Corrupt, match="never writes"):
        push([forged(156, flag)])


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (1, b"\0me"),  # a NUL inside the name
        (158, b"x\0y"),  # or inside the link
        (157, b"target"),  # a link's target without a link
        (156, b"2"),  # a link without a target
        (156, b"5"),  # a directory with content
        (345, b"prefix"),
        (257, b"ustar  \0"),  # GNU tar's old magic
        (124, b"-0000000001 "),
        (124, b"0x000000001 "),
        (124, b"00000000008 "),
        (124, b"0000 000001 "),
        (124, b" " * 12),
        (124, b"\xff" * 12),
        (124, b"\x80" + b"\xff" * 11),
        (124, b"\x80\0\0\0" + (1 << 50 | 1).to_bytes(8, "big")),
        (100, b"rw-r--r-"),
    ],
)
def test_a_header_that_makes_no_sense_is_corrupt(at: int, value: bytes) -> None:
    header = format_header(Member("name", size=1))
    with pytest.raises(Corrupt):
        push([forged(at, value, header=header)])


def test_names_lose_the_dot_in_front_and_the_slash_behind() -> None:
    header = format_header(Member("name", Kind.DIRECTORY))
    assert push([forged(0, b"./pg_wal/summaries/", header=header)])[0][0].name == "pg_wal/summaries"


def test_a_size_of_8_gb_and_more_is_written_in_base_256() -> None:
    member = Member("big", size=1 << 33)
    header = format_header(member)
    assert header[124] == 0x80
    assert parse_header(header) == member


@pytest.mark.parametrize(
    "member",
    [
        Member("a" * 100),
        Member("a\0b"),
        Member("/a"),
        Member("a/../b"),
        Member("a", Kind.DIRECTORY, size=1),
        Member("a", Kind.SYMLINK),
        Member("a", mtime=1 << 70),
    ],
)
def test_a_member_that_tar_cannot_hold_is_not_written(member: Member) -> None:
    with pytest.raises(Malformed):
        format_header(member)


@given(st.lists(contents, max_size=5), st.integers(-(1 << 40), 1 << 40))
def test_what_was_written_reads_back(members: list[Content], mtime: int) -> None:
    assert push([archive(members)]) == members
    member = Member("x", mtime=mtime)
    assert parse_header(format_header(member)) == member


@given(st.lists(contents, max_size=5))
def test_pythons_tarfile_reads_what_we_write(members: list[Content]) -> None:
    with tarfile.open(
        fileobj=io.BytesIO(archive(members)), encoding="utf-8", errors="surrogateescape"
    ) as tar:
        seen = [(info.name.rstrip("/"), info.size, info.mode, info.linkname) for info in tar]
    assert seen == [(m.name.rstrip("/"), m.size, m.mode, m.link) for m, _ in members]


@given(st.lists(contents, max_size=5))
def test_we_read_what_pythons_tarfile_writes(members: list[Content]) -> None:
    buffer = io.BytesIO()
    options = {"format": tarfile.USTAR_FORMAT, "encoding": "utf-8", "errors": "surrogateescape"}
    with tarfile.open(fileobj=buffer, mode="w", **options) as tar:
        for member, data in members:
            info = tarfile.TarInfo(member.name)
            info.type, info.mode, info.size = member.kind.value, member.mode, member.size
            info.linkname = member.link
            tar.addfile(info, io.BytesIO(data))
    assert push([buffer.getvalue()]) == members


@given(st.binary(max_size=2000))
def test_no_bytes_raise_anything_but_corrupt(data: bytes) -> None:
    for hostile in (data, data[:512].ljust(512, b"\0") + END, forged(0, data[:500])):
        try:
            push([hostile])
        except Corrupt:
            pass


@pytest.mark.parametrize("path", sorted(DATA.glob("headers-*.xz")), ids=lambda path: path.stem)
def test_real_headers_are_understood_and_written_alike(path: Path) -> None:
    headers = lzma.decompress(path.read_bytes())
    for at in range(0, len(headers), 512):
        block = headers[at : at + 512]
        ours = bytearray(format_header(parse_header(block)))
        name_length = 100 if not block.startswith(b"./") else 0
        ours[108:124] = block[108:124]  # uid, gid
        ours[148:156] = block[148:156]
        assert ours[100:] == block[100:]
        assert ours[:name_length] == block[:name_length]


def test_padding_fills_the_last_block() -> None:
    assert [padding(size) for size in (0, 1, 511, 512, 513)] == [0, 511, 1, 0, 511]
