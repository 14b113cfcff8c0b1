"""The reference firmware's store: whatever moment the power goes, it is readable, and no number is taken twice."""

import pytest
from c_mcu import KEYS, Authority, advice, slots

from firmware_bridge.codes import Verdict

COPY_BYTES = 200
"""More than one copy has."""
FOREVER = 0xFFFFFFFF


@pytest.fixture
def store(c):
    c.ffi.memmove(c.lib.shim_kept, b"\xc3" * 512, 512)
    c.lib.shim_power = FOREVER
    yield c
    c.lib.shim_power = FOREVER


def kept(c, freshness, *, resets=1, held_open=False):
    made = c.ffi.new("kept *")
    c.ffi.memmove(made, b"\1" * c.ffi.sizeof("kept"), c.ffi.sizeof("kept"))  # memory as it may be found
    c.ffi.memmove(made.slots, slots(c, (1, freshness), (2, 5)), c.ffi.sizeof(made.slots))
    made.resets, made.held_open = resets, held_open
    return made


def write(c, values, power=FOREVER):
    """What it says; power: so many bytes are written before it goes."""
    c.lib.shim_power = power
    try:
        return c.lib.store_write(values)
    finally:
        c.lib.shim_power = FOREVER


def read(c, second=(2, 5)):
    """second: key and number in the other slot. (freshness, resets, held open), None where nothing is kept."""
    found = c.ffi.new("kept *")
    if not c.lib.store_read(found):
        return None
    assert bytes(found.slots[0].key) == KEYS[1]
    assert (found.slots[1].key_id, found.slots[1].freshness_last) == second
    return found.slots[0].freshness_last, found.resets, bool(found.held_open)


def test_an_empty_board_keeps_nothing(store):
    assert read(store) is None
    store.ffi.memmove(store.lib.shim_kept, bytes(512), 512)
    assert read(store) is None


def test_what_was_written_last_is_read(store):
    for freshness in range(1, 20):
        assert write(store, kept(store, freshness, resets=freshness + 3, held_open=freshness % 2 == 1))
        assert read(store) == (freshness, freshness + 3, freshness % 2 == 1)


@pytest.mark.parametrize("writes", [1, 2, 3])
def test_power_that_goes_at_any_byte_leaves_the_old_or_the_new(store, writes):
    """writes: before it, so that each copy is once the one that is written."""
    seen = set()
    for power in range(COPY_BYTES):
        store.ffi.memmove(store.lib.shim_kept, b"\xc3" * 512, 512)
        for freshness in range(1, writes + 1):
            assert write(store, kept(store, freshness))
        said = write(store, kept(store, 77, resets=2, held_open=True), power)
        found = read(store)
        assert found in ((writes, 1, False), (77, 2, True)), power
        assert said == (found[0] == 77), power
        seen.add(found[0])
        # and the store goes on, from either
        assert write(store, kept(store, 99, resets=3))
        assert read(store) == (99, 3, False)
    assert seen == {writes, 77}


def test_a_first_write_that_is_cut_off_leaves_an_empty_board(store):
    for power in range(COPY_BYTES):
        store.ffi.memmove(store.lib.shim_kept, b"\xc3" * 512, 512)
        assert write(store, kept(store, 1), power) == (read(store) is not None)
        assert write(store, kept(store, 2))
        assert read(store) == (2, 1, False)


def test_a_number_goes_past_its_end(store):
    """Which copy is newer is told over the wrap of its number too."""
    first, size = kept(store, 1), store.ffi.sizeof("kept") + 8
    assert write(store, first)
    raw = bytearray(store.ffi.buffer(store.lib.shim_kept, 512))
    at = next(half for half in (0, size) if raw[half + size - 8 : half + size - 4] == b"\1\0\0\0")
    raw[at + size - 8 : at + size - 4] = b"\xff\xff\xff\xff"
    body = bytes(raw[at : at + size - 4])
    raw[at + size - 4 : at + size] = store.lib.ebms_crc32(body, len(body)).to_bytes(4, "little")
    store.ffi.memmove(store.lib.shim_kept, bytes(raw), 512)
    for freshness in (2, 3, 4):
        assert write(store, kept(store, freshness))
        assert read(store) == (freshness, 1, False)


@pytest.mark.parametrize("copies", ["first", "second", "both"])
def test_a_copy_that_rotted_is_passed_over(store, copies):
    assert write(store, kept(store, 1))
    assert write(store, kept(store, 2))
    size = store.ffi.sizeof("kept") + 8
    found = {1, 2}
    for half in {"first": (0,), "second": (1,), "both": (0, 1)}[copies]:
        store.lib.shim_kept[half * size + 9] ^= 1
    told = read(store)
    assert (told is None) if copies == "both" else (told[0] in found)
    assert write(store, kept(store, 3))
    assert read(store)[0] == 3


def test_a_medium_that_keeps_nothing_is_told(store):
    assert write(store, kept(store, 1))
    assert not write(store, kept(store, 2), 0)
    assert read(store) == (1, 1, False)


def test_no_number_is_accepted_twice_over_a_power_cut_at_any_byte(store):
    """The advice is judged as the firmware does: stored before it takes effect, and judged again after the cut."""
    c = store
    outcomes = set()
    for power in range(COPY_BYTES):
        c.ffi.memmove(c.lib.shim_kept, b"\xc3" * 512, 512)
        assert write(c, kept(c, 10))
        values = kept(c, 10)
        authority = Authority(c, (1, 10), (2, 5))

        @c.ffi.callback("bool(void *, const ebms_key_slot[2])")
        def keep(context, taken, values=values, power=power):
            c.ffi.memmove(values.slots, taken, c.ffi.sizeof(values.slots))
            return write(c, values, power)

        authority.state.store = keep
        first = authority.judge(advice(11))
        outcomes.add(first)
        # the power comes back
        last, resets, _ = read(c, (2, 5) if first is Verdict.STORE_FAILED else (0, 0))  # accepted under one key, the other is erased
        again = Authority(c, (1, last), (2, 5)).judge(advice(11))
        if first is Verdict.ACCEPTED:
            assert again is Verdict.REPLAYED, power
        assert again in (Verdict.ACCEPTED, Verdict.REPLAYED)
        assert resets == 1
    assert outcomes == {Verdict.ACCEPTED, Verdict.STORE_FAILED}
