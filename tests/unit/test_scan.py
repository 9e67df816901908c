"""Which blocks a scan reads next: all of them, in chunks that overlap, and none before the first."""

from hypothesis import given
from hypothesis import strategies as st

from chain.scan import Cursor, next_window


@given(
    first=st.integers(0, 100),
    heads=st.lists(st.integers(-1, 400), min_size=1),
    chunk=st.integers(2, 50),
    overlap=st.integers(0, 1) | st.integers(0, 40),
)
def test_no_block_is_left_out(first: int, heads: list[int], chunk: int, overlap: int) -> None:
    """Every final block from the first on is read, however the head moves; a chunk is larger than the overlap."""
    overlap = min(overlap, chunk - 1)
    cursor, read = Cursor(first, first - 1), set()
    for final in heads:
        while (window := next_window(cursor, final, chunk=chunk, overlap=overlap)) is not None:
            assert first <= window.start <= cursor.scanned + 1
            assert window.more == (window.end < final)
            read |= set(range(window.start, window.end + 1))
            cursor = Cursor(first, window.end)
    assert read == set(range(first, cursor.scanned + 1))
    assert cursor.scanned == max(first - 1, *heads)


def test_what_was_read_is_read_again() -> None:
    """A position that became known, or a node that lagged, is made up for within the overlap."""
    window = next_window(Cursor(10, 99), 100, chunk=1_000, overlap=32)
    assert window is not None
    assert (window.start, window.end, window.more) == (68, 100, False)
