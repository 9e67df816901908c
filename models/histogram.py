"""Durations in slots that widen as they grow, so that a few hundred counters tell percentiles from a microsecond to years.

A slot is a sixteenth of an octave: up to 31 µs each microsecond has one, and from there the slot's width is a sixteenth of
the power of two below it. What is told is a slot's upper end, so it is never too small, and too large by less than 1/16.
The triggers compute the same in SQL (migration 0003, ``analytics_slot``); a test compares them.
"""

from typing import Final

_BITS: Final = 4
_SLOTS_PER_OCTAVE: Final = 1 << _BITS


def slot_of(microseconds: int) -> int:
    """The slot of a duration; a negative one, which clocks that disagree make, counts as none."""
    length = max(0, microseconds)
    shift = max(0, length.bit_length() - 1 - _BITS)
    return (shift << _BITS) + (length >> shift)


def upper_end(slot: int) -> int:
    """The longest duration of the slot, in microseconds."""
    if slot < 2 * _SLOTS_PER_OCTAVE:
        return slot
    shift = (slot >> _BITS) - 1
    return ((slot - (shift << _BITS) + 1) << shift) - 1
