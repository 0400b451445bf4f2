import io

from walstream.cli.progress import Progress, progress_text


def test_the_line_has_bytes_rate_and_time_left():
    text = progress_text("copied", 25 << 20, 100 << 20, 5)
    assert text == "copied: 25.0 MiB of 100.0 MiB (25 %), 5.0 MiB/s, 15 s left"


def test_without_a_total_there_is_no_time_left():
    assert progress_text("copied", 10 << 20, None, 5) == "copied: 10.0 MiB, 2.0 MiB/s"


def test_at_the_very_beginning_there_is_no_rate():
    assert progress_text("copied", 1 << 20, 100 << 20, 0.001) == "copied: 1.0 MiB of 100.0 MiB (1 %)"


def test_updates_are_throttled_and_the_line_is_taken_away_at_the_end():
    times = iter([0.0, 0.0, 0.1, 0.3])
    stream = io.StringIO()
    with Progress(stream, "copied", clock=lambda: next(times)) as progress:
        for done in (1, 2, 3):
            progress.update(done)
    assert stream.getvalue() == "\r\x1b[Kcopied: 1 B\r\x1b[Kcopied: 3 B, 10 B/s\r\x1b[K"
