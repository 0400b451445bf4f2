"""Reading two copies side by side, however their readers cut them."""

from hypothesis import given
from hypothesis import strategies as st
from support.streams import Given

from catalog.comparison import LONGER, OTHER, SAME, SHORTER, compare_padded, same_bytes

LENGTH = 64
received = st.binary(max_size=LENGTH)


def judged(stored, arriving):
    """Byte by byte: what ``compare_padded`` must say."""
    if stored == arriving:
        return SAME
    first, second = stored.rstrip(b"\0"), arriving.rstrip(b"\0")
    shared = min(len(first), len(second))
    if first[:shared] != second[:shared]:
        return OTHER
    return LONGER if len(second) > len(first) else SHORTER


@given(received, received, st.integers(0, LENGTH), st.booleans())
def test_partial_segments_are_compared_up_to_the_smaller_end(a, b, shared, related):
    if related:
        b = a[:shared] + b
    stored, arriving = (copy[:LENGTH].ljust(LENGTH, b"\0") for copy in (a, b))
    assert compare_padded(Given(stored), Given(arriving)) == judged(stored, arriving)


@given(received, received)
def test_another_length_is_never_a_continuation(a, b):
    stored, arriving = a.ljust(LENGTH, b"\0"), b.ljust(LENGTH + 1, b"\0")
    assert compare_padded(Given(stored), Given(arriving)) == OTHER


@given(received, received)
def test_the_same_bytes_are_the_same(a, b):
    assert same_bytes(Given(a), Given(b)) is (a == b)
    assert same_bytes(Given(a), Given(a))
