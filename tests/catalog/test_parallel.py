"""Frames decompressed on several threads: the same bytes and the same refusals as one after the other."""

import os

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.streams import Given, Kept, drain

from catalog.codec import Codec
from catalog.codecs import gzip, lz4, zstd
from catalog.decoding import decoder
from catalog.errors import Corrupt
from catalog.frames import Workers, encoder
from catalog.parallel import MOST, parallel_decoder

OURS = {".zst": zstd.compress_frame, ".lz4": lz4.compress_frame}
every_suffix = pytest.mark.parametrize("suffix", OURS)

contents = st.binary(max_size=300) | st.builds(
    lambda b, n: b * n, st.binary(max_size=3), st.integers(0, 200_000)
)


@pytest.fixture(scope="module")
def workers():
    with Workers(3) as made:
        yield made


def streamed(raw):
    """A frame that does not say how much it holds."""
    compressor = zstd.zstd.ZstdCompressor()
    return compressor.compress(raw) + compressor.flush()


def read(stored, suffix, workers, most=1 << 30, n=1 << 20):
    reader = parallel_decoder(Given(stored, most), suffix, workers)
    try:
        return drain(reader, n)
    finally:
        reader.close()


def one_after_the_other(stored, suffix):
    return drain(decoder(Given(stored, 1 << 30), suffix))


@every_suffix
@settings(max_examples=60)
@given(
    frames=st.lists(contents, min_size=1, max_size=12),
    level=st.sampled_from([1, 9]),
    most=st.integers(1, 5000),
)
def test_frames_come_back_in_order_however_they_are_read(workers, suffix, frames, level, most):
    stored = b"".join(OURS[suffix](frame, level) for frame in frames)
    assert read(stored, suffix, workers, most, n=most) == b"".join(frames)


@pytest.mark.parametrize("name", ["zstd", "lz4", "gzip", "none"])
def test_what_our_encoder_writes_comes_back(workers, name):
    raw = os.urandom(300_000) * 40 + bytes(3 << 20)
    stored, codec = Kept(), Codec.of(name)
    sink = encoder(codec, stored, workers)
    sink.write(raw)
    sink.finish()
    assert read(stored.content, codec.suffix, workers) == raw


@every_suffix
@settings(max_examples=60)
@given(data=st.data(), frames=st.lists(contents, min_size=1, max_size=4))
def test_what_is_cut_short_is_refused_wherever_it_is_cut(workers, suffix, data, frames):
    stored = b"".join(OURS[suffix](frame, 1) for frame in frames)
    kept = stored[: data.draw(st.integers(0, len(stored) - 1))]
    try:
        expected = one_after_the_other(kept, suffix)
    except Corrupt:
        with pytest.raises(Corrupt):
            read(kept, suffix, workers)
    else:
        assert read(kept, suffix, workers) == expected  # it was cut between two frames


@every_suffix
@settings(max_examples=100)
@given(data=st.data(), frames=st.lists(contents, min_size=1, max_size=3))
@example(data=None, frames=[b"", b"x"])
def test_a_changed_byte_is_refused_or_changes_nothing(workers, suffix, data, frames):
    stored = bytearray(b"".join(OURS[suffix](frame, 1) for frame in frames))
    at = data.draw(st.integers(0, len(stored) - 1)) if data is not None else 0
    stored[at] ^= data.draw(st.integers(1, 255)) if data is not None else 1
    try:
        found = read(bytes(stored), suffix, workers)
    except Corrupt:
        return
    assert found == one_after_the_other(bytes(stored), suffix)


@pytest.mark.parametrize(
    "suffix, stored, raw",
    [
        # without the size of the content, from a stream; with a skippable frame; larger than what is kept in memory
        (".zst", streamed(b"a" * 9000), b"a" * 9000),
        (".zst", b"\x50\x2a\x4d\x18\x03\0\0\0abc" + zstd.compress_frame(b"b" * 9000, 1), b"b" * 9000),
        (
            ".zst",
            zstd.compress_frame(bytes(MOST + 1), 1) + zstd.compress_frame(b"c", 1),
            bytes(MOST + 1) + b"c",
        ),
        (".lz4", lz4.lz4.frame.compress(b"d" * 9000, store_size=False, block_checksum=True), b"d" * 9000),
        (
            ".lz4",
            lz4.lz4.frame.compress(b"e" * 900_000, store_size=True, block_checksum=True),
            b"e" * 900_000,
        ),
        (".gz", gzip.compress_frame(b"f" * 9000, 1) * 2, b"f" * 18000),
    ],
)
def test_what_others_wrote_is_read_as_well(workers, suffix, stored, raw):
    ours = b"" if suffix == ".gz" else OURS[suffix](b"ours", 1) * 5
    assert read(ours + stored, suffix, workers) == b"ours" * (5 if ours else 0) + raw


@every_suffix
def test_an_empty_file_is_refused(workers, suffix):
    with pytest.raises(Corrupt, match="is empty"):
        read(b"", suffix, workers)


@every_suffix
def test_once_corrupt_always_corrupt(workers, suffix):
    reader = parallel_decoder(Given(OURS[suffix](b"a", 1) + b"garbage" * 9, 100), suffix, workers)
    assert reader.read(10) == b"a"
    for _ in range(2):
        with pytest.raises(Corrupt):
            reader.read(10)
    reader.close()


@every_suffix
def test_no_more_frames_are_read_ahead_than_are_in_flight(workers, suffix):
    frame = OURS[suffix](os.urandom(1 << 20), 1)
    stored = Given(frame * 60)
    reader = parallel_decoder(stored, suffix, workers)
    reader.read(1)
    assert 0 < stored.taken <= (2 * workers.threads + 1) * len(frame) + (1 << 20)
    reader.close()
    assert stored.closed == 1
