"""The encoder: same bytes whatever the cut, in order, in bounded memory, with errors where they belong."""

from __future__ import annotations

import io
import random
import threading
import time
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.streams import Given, Kept, drain

from catalog import frames
from catalog.codec import LEVELS, Codec
from catalog.decoding import decoder
from catalog.errors import StorageError
from catalog.frames import Workers, encoder, push

FRAME = 64
writable = pytest.mark.parametrize("name", sorted(LEVELS))


@pytest.fixture(scope="module")
def workers():
    with Workers(3) as pool:
        yield pool


class Compression:
    """Stands in for a codec: the function given is the compressor."""

    recipients = ()

    def __init__(self, function) -> None:
        self._function = function

    def compressor(self):
        return self._function


def expand(stored: bytes, codec: Codec) -> bytes:
    return drain(decoder(Given(stored), codec.suffix))


@writable
@given(pieces=st.lists(st.binary(max_size=200)), kind=st.sampled_from([bytes, bytearray, memoryview]))
def test_what_is_written_reads_back_however_it_was_cut(workers, name, pieces, kind):
    sink, codec = Kept(), Codec.of(name)
    stream = encoder(codec, sink, workers, FRAME)
    for piece in pieces:
        stream.write(kind(piece))
    stream.finish()
    assert expand(sink.content, codec) == b"".join(pieces)
    assert sink.finished == 1


@given(pieces=st.lists(st.binary(max_size=200)))
def test_every_frame_but_the_last_is_full(workers, pieces):
    sink, raw = Kept(), b"".join(pieces)
    stream = encoder(Compression(bytes), sink, workers, FRAME)
    for piece in pieces:
        stream.write(piece)
    stream.finish()
    assert sink.pieces == ([raw[i : i + FRAME] for i in range(0, len(raw), FRAME)] or [b""])


@writable
def test_an_empty_stream_is_one_empty_frame(workers, name):
    sink, codec = Kept(), Codec.of(name)
    encoder(codec, sink, workers).finish()
    assert len(sink.pieces) == 1
    assert expand(sink.content, codec) == b""


def test_codec_none_passes_through(workers):
    sink = Kept()
    assert encoder(Codec.of("none"), sink, workers) is sink


def test_frames_stay_in_order_when_threads_finish_out_of_order():
    def dawdle(raw):
        time.sleep(random.random() / 500)
        return bytes(raw)

    data = random.randbytes(200 * FRAME)
    sink = Kept()
    with Workers(16) as pool:
        stream = encoder(Compression(dawdle), sink, pool, FRAME)
        for position in range(0, len(data), 50):
            stream.write(memoryview(data)[position : position + 50])
        stream.finish()
    assert sink.content == data


def test_encoders_share_threads_without_mixing_their_frames(workers):
    sinks = [Kept() for _ in range(4)]
    streams = [encoder(Compression(bytes), sink, workers, FRAME) for sink in sinks]
    for _ in range(100):
        for number, stream in enumerate(streams):
            stream.write(bytes([number]) * 40)
    for stream in streams:
        stream.finish()
    assert [sink.content for sink in sinks] == [bytes([number]) * 4000 for number in range(4)]


@pytest.mark.parametrize("size", [10, FRAME, 10 * FRAME])
def test_memory_written_may_be_changed_as_soon_as_write_returns(workers, size):
    gate, sink = threading.Event(), Kept()

    def wait(raw):
        gate.wait(20)
        return bytes(raw)

    stream = encoder(Compression(wait), sink, workers, 4 * FRAME)
    memory = bytearray(b"x" * size)
    stream.write(memory)
    memory[:] = b"y" * size
    gate.set()
    stream.finish()
    assert sink.content == b"x" * size


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_write_waits_when_twice_as_many_frames_as_threads_are_in_flight(threads):
    gate, accepted = threading.Event(), []

    def wait(raw):
        gate.wait(20)
        return bytes(raw)

    def push():
        for _ in range(20):
            stream.write(bytearray(FRAME))
            accepted.append(FRAME)

    with Workers(threads) as pool:
        stream = encoder(Compression(wait), Kept(), pool, FRAME)
        writer = threading.Thread(target=push)
        writer.start()
        while len(accepted) < 2 * threads:
            time.sleep(0.001)
        time.sleep(0.05)
        stalled = len(accepted)
        gate.set()
        writer.join()
        stream.finish()
    assert (stalled, len(accepted)) == (2 * threads, 20)


def test_the_sink_is_used_by_the_writing_thread_alone(workers):
    class Watched(Kept):
        def write(self, data):
            users.add(threading.get_ident())
            super().write(data)

    users: set[int] = set()
    stream = encoder(Codec.of("zstd"), Watched(), workers, FRAME)
    for _ in range(50):
        stream.write(bytes(FRAME))
    stream.finish()
    assert users == {threading.get_ident()}


def test_an_error_in_a_thread_surfaces_as_itself_and_the_sink_is_never_finished(workers):
    error = MemoryError("no room to compress")

    def fail(raw):
        raise error

    sink = Kept()
    stream = encoder(Compression(fail), sink, workers, FRAME)
    with pytest.raises(MemoryError) as caught:
        for _ in range(20):
            stream.write(bytes(FRAME))
    assert caught.value is error
    for again in (stream.finish, lambda: stream.write(b"more")):
        with pytest.raises(MemoryError):
            again()
    stream.abort()
    assert (sink.pieces, sink.finished, sink.aborted) == ([], 0, 1)


def test_an_error_in_the_last_frame_surfaces_at_finish(workers):
    sink = Kept()
    stream = encoder(Compression(lambda raw: 1 // 0), sink, workers, FRAME)
    stream.write(b"tail")
    with pytest.raises(ZeroDivisionError):
        stream.finish()
    assert sink.finished == 0


def test_an_error_of_the_sink_surfaces_as_itself_and_again_at_finish(workers):
    class Full(Kept):
        def write(self, data):
            raise StorageError("no space left on device")

    sink = Full()
    stream = encoder(Codec.of("lz4"), sink, workers, FRAME)
    with pytest.raises(StorageError):
        for _ in range(20):
            stream.write(bytes(FRAME))
    with pytest.raises(StorageError):
        stream.finish()
    assert sink.finished == 0


def test_an_error_while_the_sink_finishes_leaves_it_to_be_aborted(workers):
    class Unsynced(Kept):
        def finish(self):
            raise StorageError("could not sync")

    sink = Unsynced()
    stream = encoder(Codec.of("gzip"), sink, workers)
    with pytest.raises(StorageError):
        stream.finish()
    stream.abort()
    assert sink.aborted == 1


def test_abort_drops_the_frames_not_begun_and_aborts_the_sink():
    gate, begun, sink = threading.Event(), [], Kept()

    def wait(raw):
        begun.append(raw)
        gate.wait(20)
        return bytes(raw)

    with Workers(1) as pool:
        stream = encoder(Compression(wait), sink, pool, FRAME)
        stream.write(bytes(2 * FRAME))
        while not begun:
            time.sleep(0.001)
        stream.abort()
        stream.abort()
        gate.set()
    assert (len(begun), sink.pieces, sink.finished, sink.aborted) == (1, [], 0, 2)


def test_the_threads_end_when_the_workers_are_closed():
    before = threading.active_count()
    with Workers(5) as pool:
        assert threading.active_count() == before + 5
    pool.close()
    assert threading.active_count() == before


def test_a_frame_for_closed_workers_is_refused():
    pool = Workers(1)
    pool.close()
    with pytest.raises(RuntimeError, match="closed"):
        encoder(Codec.of("zstd"), Kept(), pool).finish()


def test_workers_need_at_least_one_thread():
    with pytest.raises(ValueError, match="at least one"):
        Workers(0)


@pytest.mark.parametrize("name", ["none", "zstd"])
@pytest.mark.parametrize("size", [0, 1, 1000, 1001, 2500])
def test_what_is_pushed_out_of_a_file_is_all_that_it_still_has(workers, name, size):
    codec, content = Codec.of(name), random.Random(size).randbytes(size + 7)
    kept = Kept()
    sink = encoder(codec, kept, workers, frame_size=1000)
    file = io.BytesIO(content)
    sink.write(file.read(7))
    assert push(file, sink) == size
    sink.finish()
    assert expand(kept.content, codec) == content


def test_a_file_that_cannot_be_read_any_more_is_an_error_of_the_encoder(workers):
    class Broken(io.BytesIO):
        def readinto(self, buffer):
            raise StorageError("the disk is broken")

    kept = Kept()
    sink = encoder(Codec.of("zstd"), kept, workers)
    with pytest.raises(StorageError, match="broken"):
        push(Broken(), sink)
    with pytest.raises(StorageError, match="broken"):
        sink.finish()
    sink.abort()


def test_a_buffer_that_was_given_back_is_filled_anew():
    codec, content = Codec.of("zstd"), bytes(range(250)) * 4
    with Workers(1) as pool:
        buffer = memoryview(bytearray(b"of another file" * 1000)[:1000])
        pool.give_back(buffer)
        kept = Kept()
        sink = encoder(codec, kept, pool, frame_size=1000)
        sink.write(memoryview(content))
        sink.finish()
        assert expand(kept.content, codec) == content == bytes(buffer)
        assert len(pool.buffer(500)) == 500


def test_buffers_that_nobody_fills_are_let_go(monkeypatch):
    class Memory(bytearray):
        """Unlike a bytearray it can be watched."""

    monkeypatch.setattr(frames, "_IDLE", 0.01)
    with Workers(2) as pool:
        memory = Memory(1000)
        gone = threading.Event()
        weakref.finalize(memory, gone.set)
        pool.give_back(memoryview(memory))
        del memory
        assert gone.wait(30)
