"""Names, levels and suffixes; reading stored files, whole, cut, damaged and hostile."""

from __future__ import annotations

import bz2
import lzma
import pickle
import shutil
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.age import OURS, encrypt
from support.streams import Given, drain

from catalog.codec import LEVELS, NAMES, Codec
from catalog.codecs import gzip, lz4, zstd
from catalog.decoding import ENDINGS, SUFFIXES, decoder, split_suffix
from catalog.errors import Corrupt, IdentityError, Malformed, UsageError
from catalog.identity import Identities

STORE = {
    ".gz": lambda data: gzip.compress_frame(data, 1),
    ".lz4": lambda data: lz4.compress_frame(data, 1),
    ".zst": lambda data: zstd.compress_frame(data, 1),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}
TOOLS = {".gz": "gzip", ".lz4": "lz4", ".zst": "zstd", ".bz2": "bzip2", ".xz": "xz"}
SAMPLE = b"".join(b"%d rows of pgbench_accounts;" % (number * 7919 % 1000) for number in range(40))

every_suffix = pytest.mark.parametrize("suffix", SUFFIXES)
writable = pytest.mark.parametrize("name", sorted(LEVELS))


def expand(stored: bytes, suffix: str, n: int = 1 << 20, most: int = 1 << 30) -> bytes:
    return drain(decoder(Given(stored, most), suffix), n)


def tool(suffix: str, *arguments: str, given: bytes) -> bytes:
    command = shutil.which(TOOLS[suffix])
    if command is None:
        pytest.skip(f"the command {TOOLS[suffix]!r} is not installed")
    return subprocess.run([command, *arguments], input=given, capture_output=True, check=True).stdout


def content() -> st.SearchStrategy[bytes]:
    """Incompressible and very compressible bytes."""
    return st.lists(
        st.binary(max_size=200)
        | st.builds(lambda byte, n: byte * n, st.binary(max_size=3), st.integers(0, 9000)),
        max_size=5,
    ).map(b"".join)


def test_a_codec_without_a_level_gets_its_default():
    assert Codec.of("zstd") == Codec.of("zstd", 1)


def test_codec_none_has_no_suffix_no_level_and_no_compressor():
    codec = Codec.of("none")
    assert (codec.suffix, codec.level, codec.compressor()) == ("", None, None)


def test_every_codec_but_none_has_its_own_suffix():
    suffixes = {Codec.of(name).suffix for name in NAMES}
    assert suffixes == {"", ".gz", ".lz4", ".zst"}


def test_encryption_adds_a_suffix_and_can_be_left_off():
    codec = Codec.of("zstd", 3).encrypted((str(OURS.recipient),))
    assert (codec.suffix, codec.clear) == (".zst.age", Codec.of("zstd", 3))
    assert codec != codec.clear and pickle.loads(pickle.dumps(codec)) == codec
    assert Codec.of("none").encrypted((str(OURS.recipient),)).suffix == ".age"


def test_a_recipient_that_is_none_is_refused_before_anything_is_written():
    with pytest.raises(Malformed, match="not an age recipient"):
        Codec.of("zstd").encrypted(("age1typo",))


@pytest.mark.parametrize("suffix", [".age", ".zst.age"])
def test_what_is_encrypted_is_opened_when_it_is_read_first(suffix, tmp_path):
    raw = encrypt(STORE[suffix.removesuffix(".age")](SAMPLE) if suffix != ".age" else SAMPLE)
    path = tmp_path / "identity"
    path.write_text(OURS.secret_text())
    path.chmod(0o600)
    assert drain(decoder(Given(raw), suffix, Identities(str(path)))) == SAMPLE
    for nobody in (None, Identities()):
        given = Given(raw)
        reader = decoder(given, suffix, nobody, "the stored 'x'")
        assert given.taken == 0
        with pytest.raises(IdentityError, match="the stored 'x' is encrypted, and no identity was given"):
            reader.read(1)
        reader.close()
        assert given.closed == 1


def test_an_unknown_compression_names_the_nearest_and_all_that_are_accepted():
    with pytest.raises(UsageError, match="'zstandard'") as caught:
        Codec.of("zstandard")
    assert caught.value.hint == "did you mean 'zstd'? accepted are none, gzip, lz4, zstd"


@pytest.mark.parametrize(
    ("name", "level"), [("gzip", 0), ("gzip", 10), ("lz4", 13), ("zstd", 23), ("zstd", -8)]
)
def test_a_level_out_of_range_is_refused_with_the_range(name, level):
    with pytest.raises(UsageError, match=str(level)) as caught:
        Codec.of(name, level)
    assert f"from {LEVELS[name][0]} to {LEVELS[name][1]}" in caught.value.hint


def test_a_level_for_codec_none_is_refused():
    with pytest.raises(UsageError, match="no levels"):
        Codec.of("none", 1)


def test_a_codec_cannot_be_changed_and_survives_pickling():
    codec = Codec.of("lz4", 3)
    with pytest.raises(AttributeError):
        codec.level = 4
    assert pickle.loads(pickle.dumps(codec)) == codec
    assert len({codec, Codec.of("lz4", 3)}) == 1


@pytest.mark.parametrize("suffix", ENDINGS)
def test_a_suffix_is_split_off_and_joined_again(suffix):
    assert split_suffix("00000001000000000000000A.partial" + suffix) == (
        "00000001000000000000000A.partial",
        suffix,
    )


@pytest.mark.parametrize(
    "name", ["00000002.history", "base.tar", "", ".zst", ".age", "a.ZST", "a.age.zst/b", "a.zst/b"]
)
def test_a_name_without_the_suffix_of_a_codec_is_left_whole(name):
    assert split_suffix(name) == (name, "")


@writable
@given(data=content(), n=st.integers(1, 5000), most=st.integers(1, 300), choice=st.integers(0))
def test_a_frame_of_any_level_reads_back_however_it_is_cut(name, data, n, most, choice):
    lowest, highest, _ = LEVELS[name]
    codec = Codec.of(name, lowest + choice % (highest - lowest + 1))
    assert expand(codec.compressor()(data), codec.suffix, n, most) == data


@every_suffix
@given(parts=st.lists(content(), min_size=1, max_size=4), n=st.integers(1, 5000), most=st.integers(1, 300))
def test_frames_one_behind_another_read_as_one_file(suffix, parts, n, most):
    stored = b"".join(STORE[suffix](part) for part in parts)
    assert expand(stored, suffix, n, most) == b"".join(parts)


@every_suffix
def test_a_file_cut_at_any_length_is_corrupt(suffix):
    stored = STORE[suffix](SAMPLE)
    for length in range(len(stored)):
        for most in (7, 1 << 20):
            with pytest.raises(Corrupt) as caught:
                expand(stored[:length], suffix, most=most)
            assert caught.value.hint


@every_suffix
def test_a_second_frame_cut_at_any_length_is_corrupt(suffix):
    first, second = STORE[suffix](SAMPLE), STORE[suffix](b"tail")
    for length in range(1, len(second)):
        with pytest.raises(Corrupt):
            expand(first + second[:length], suffix)


@every_suffix
@given(
    position=st.integers(0),
    flip=st.integers(1, 255),
    n=st.sampled_from([5, 1 << 20]),
    most=st.sampled_from([9, 1 << 20]),
)
def test_a_changed_byte_is_corrupt_or_changes_nothing(suffix, position, flip, n, most):
    stored = bytearray(STORE[suffix](SAMPLE))
    stored[position % len(stored)] ^= flip
    try:
        assert expand(bytes(stored), suffix, n, most) == SAMPLE  # as the time in gzip's header
    except Corrupt:
        pass


@every_suffix
def test_no_changed_byte_anywhere_reads_as_other_content(suffix):
    stored = STORE[suffix](SAMPLE)
    for position in range(len(stored)):
        damaged = stored[:position] + bytes([stored[position] ^ 0x10]) + stored[position + 1 :]
        try:
            assert expand(damaged, suffix) == SAMPLE
        except Corrupt:
            pass


@every_suffix
@given(garbage=st.binary(max_size=300), behind=st.booleans())
def test_garbage_raises_nothing_but_corrupt(suffix, garbage, behind):
    stored = (STORE[suffix](SAMPLE) if behind else b"") + garbage
    try:
        expand(stored, suffix)
    except Corrupt:
        pass
    else:
        assert behind or garbage


@every_suffix
@pytest.mark.parametrize("garbage", [b"\n", b"\0" * 16, b"garbage behind the last frame"])
def test_bytes_behind_the_last_frame_that_are_no_frame_are_corrupt(suffix, garbage):
    with pytest.raises(Corrupt):
        expand(STORE[suffix](SAMPLE) + garbage, suffix)


@every_suffix
def test_an_empty_file_with_a_suffix_is_corrupt(suffix):
    with pytest.raises(Corrupt, match="empty"):
        expand(b"", suffix)


@every_suffix
def test_a_corrupt_file_stays_corrupt_when_read_again(suffix):
    reader = decoder(Given(STORE[suffix](SAMPLE)[:-1]), suffix)
    for _ in range(3):
        with pytest.raises(Corrupt):
            drain(reader)


def test_without_a_suffix_the_reader_itself_is_passed_through():
    reader = Given(b"as it is")
    assert decoder(reader, "") is reader


def test_an_unknown_suffix_is_refused():
    with pytest.raises(UsageError, match=r"'\.rar'"):
        decoder(Given(b""), ".rar")


@every_suffix
def test_closing_the_decoder_closes_the_reader(suffix):
    reader = Given(STORE[suffix](SAMPLE))
    decoder(reader, suffix).close()
    assert reader.closed == 1


def test_what_the_inner_reader_raises_is_not_taken_for_damage():
    class Failing(Given):
        def read(self, n: int, /) -> bytes:
            raise OSError("input/output error")

    for suffix in SUFFIXES:
        with pytest.raises(OSError, match="input/output error"):
            decoder(Failing(b""), suffix).read(10)


@every_suffix
def test_a_read_gives_no_more_than_asked_for_and_takes_no_more_than_it_needs(suffix):
    bomb = Given(STORE[suffix](bytes(64 << 20)) * 8)
    reader = decoder(bomb, suffix)
    for n in (1, 10, 4096, 1 << 40):
        assert 0 < len(reader.read(n)) <= min(n, 1 << 20)
    assert bomb.taken <= 256 * 1024


BOMB = """
import resource, sys
from catalog.decoding import decoder
reader = decoder(open(sys.argv[1], "rb", buffering=0), sys.argv[2])
reader.read(1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for _ in range(48):
    reader.read(1 << 40)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@every_suffix
def test_a_bomb_expands_in_bounded_memory(suffix, tmp_path):
    path = tmp_path / "bomb"
    path.write_bytes(STORE[suffix](bytes(64 << 20)))
    command = [sys.executable, "-c", BOMB, str(path), suffix]
    grown = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    assert int(grown) < 24  # MiB, of the 48 that were read


@writable
def test_the_formats_own_tool_accepts_what_we_write(name):
    for level in range(LEVELS[name][0], LEVELS[name][1] + 1, 3):
        codec = Codec.of(name, level)
        stored = b"".join(map(codec.compressor(), (SAMPLE, b"", SAMPLE)))
        tool(codec.suffix, "-t", given=stored)
        assert tool(codec.suffix, "-dc", given=stored) == SAMPLE * 2


@every_suffix
@pytest.mark.parametrize("data", [b"", SAMPLE, bytes(3 << 20)], ids=["empty", "sample", "zeros"])
def test_we_read_what_the_formats_own_tool_writes(suffix, data):
    assert expand(tool(suffix, "-c", given=data), suffix) == data


@pytest.mark.parametrize(("name", "place"), [("lz4", slice(6, 14)), ("zstd", slice(5, 7))])
def test_the_size_of_the_content_is_in_the_header(name, place):
    data = SAMPLE
    header = Codec.of(name).compressor()(data)[place]
    assert int.from_bytes(header, "little") + (256 if name == "zstd" else 0) == len(data)


WITHOUT_ISAL = """
import sys
sys.modules["isal"] = None
import gzip, io
from catalog.codec import Codec
from catalog.decoding import decoder
data = bytes(range(256)) * 99
for level in range(1, 10):
    stored = Codec.of("gzip", level).compressor()(data)
    assert gzip.decompress(stored) == data
    reader, pieces = decoder(io.BytesIO(stored), ".gz"), []
    while piece := reader.read(100):
        pieces.append(piece)
    assert b"".join(pieces) == data
"""


def test_gzip_works_where_isal_is_not_installed():
    subprocess.run([sys.executable, "-c", WITHOUT_ISAL], check=True)


def test_choosing_a_codec_loads_no_compression_library():
    code = (
        "import sys; from catalog.codec import Codec; from catalog.decoding import split_suffix;"
        "Codec.of('zstd'); split_suffix('a.gz');"
        "print(*{'zlib', 'isal', 'lz4', 'backports.zstd', 're', 'dataclasses', 'typing'} & set(sys.modules))"
    )
    loaded = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, check=True, text=True
    ).stdout
    assert loaded.split() == []
