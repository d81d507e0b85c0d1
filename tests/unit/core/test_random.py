"""Philox against its published known answers, and what is drawn from it."""

from __future__ import annotations

import numpy as np
import pytest

from cpcnn.core.random import Philox, philox4x32, unit_interval

ALL_ONES = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        (
            (0, 0, 0, 0),
            (0, 0),
            (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
        ),
        (
            (ALL_ONES,) * 4,
            (ALL_ONES,) * 2,
            (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
        ),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
    ids=["zeros", "ones", "pi"],
)
def test_known_answers_of_random123(
    counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...]
) -> None:
    words = philox4x32(np, [np.array([word], np.uint64) for word in counter], key)
    assert tuple(int(word[0]) for word in words) == expected


def test_seed_index_epoch_and_stream_make_key_and_counter() -> None:
    rng = Philox(seed=0x299F31D0_A4093822, stream="pi", epoch=0x13198A2E)
    counter = [0x243F6A88, 0x85A308D3, 0x13198A2E, rng.stream_word]
    expected = philox4x32(np, [np.array([w], np.uint64) for w in counter], rng.key)
    index = np.array([0x85A308D3_243F6A88], np.uint64)
    assert rng.key == (0xA4093822, 0x299F31D0)
    assert rng.words(index).tolist() == [[int(word[0]) for word in expected]]


def test_the_stream_word_is_a_checksum_that_every_platform_computes() -> None:
    assert Philox(0, "123456789").stream_word == 0xCBF43926  # CRC-32's published check value


def test_words_depend_on_the_index_alone() -> None:
    rng = Philox(7, "order")
    index = np.arange(100)
    shuffled = rng.permutation(100)
    assert np.array_equal(rng.words(index)[shuffled], rng.words(shuffled))
    assert np.array_equal(rng.words(index[40:41])[0], rng.words(index)[40])
    assert rng.words(index.reshape(5, 20)).shape == (5, 20, 4)


@pytest.mark.parametrize(
    "other",
    [Philox(1, "a"), Philox(0, "b"), Philox(0, "a", 1), Philox(1 << 32, "a"), Philox(0, "a/")],
)
def test_seeds_streams_and_epochs_are_independent(other: Philox) -> None:
    words, others = Philox(0, "a").words(np.arange(256)), other.words(np.arange(256))
    assert not (words == others).any()
    bits = np.unpackbits((words ^ others).view(np.uint8))
    assert bits.mean() == pytest.approx(0.5, abs=0.02)


def test_seeds_may_be_of_any_size_and_sign() -> None:
    words = {Philox(seed, "s").words(np.arange(1)).tobytes() for seed in (-1, 0, 2**63, 2**64 - 2)}
    assert len(words) == 4
    assert np.array_equal(
        Philox(-1, "s").words(np.arange(3)), Philox(2**64 - 1, "s").words(np.arange(3))
    )


def test_a_child_is_a_stream_of_its_own() -> None:
    assert Philox(3, "a", 5).child("b") == Philox(3, "a/b", 5)


def test_the_unit_interval_takes_the_upper_24_bits() -> None:
    words = np.array([0, 0xFF, 0x100, 0x80000000, ALL_ONES], np.uint32)
    found = unit_interval(words)
    assert found.dtype == np.float32
    assert found.tolist() == [0.0, 0.0, 2.0**-24, 0.5, 1 - 2.0**-24]


def test_uniform_numbers_fill_their_interval() -> None:
    drawn = Philox(0, "uniform").uniform(np.arange(20_000), 4)
    assert drawn.shape == (20_000, 4)
    assert drawn.dtype == np.float32
    assert drawn.min() >= 0
    assert drawn.max() < 1
    counts = np.histogram(drawn, bins=16, range=(0, 1))[0]
    assert np.abs(counts / drawn.size * 16 - 1).max() < 0.05
    assert np.abs(np.corrcoef(drawn.T) - np.eye(4)).max() < 0.03


def test_fewer_draws_are_the_first_of_more() -> None:
    rng = Philox(0, "uniform")
    assert np.array_equal(rng.uniform(np.arange(9), 2), rng.uniform(np.arange(9), 4)[:, :2])


@pytest.mark.parametrize("draws", [0, 5])
def test_a_counter_holds_four_draws(draws: int) -> None:
    with pytest.raises(ValueError, match="1 to 4"):
        Philox(0, "u").uniform(np.arange(2), draws)


def test_normal_numbers_have_the_normal_distribution() -> None:
    drawn = Philox(0, "normal").normal((400, 101)).astype(np.float64)
    assert drawn.shape == (400, 101)
    assert abs(drawn.mean()) < 0.02
    assert abs(drawn.std() - 1) < 0.02
    assert abs((drawn**3).mean()) < 0.05
    assert abs((drawn**4).mean() - 3) < 0.1
    assert (np.abs(drawn) < 1).mean() == pytest.approx(0.6827, abs=0.01)
    assert np.isfinite(drawn).all()


def test_normal_numbers_are_float32_of_any_shape() -> None:
    rng = Philox(0, "normal")
    assert rng.normal(()).shape == ()
    assert rng.normal((0, 3)).shape == (0, 3)
    assert rng.normal((5,)).dtype == np.float32


@pytest.mark.parametrize("length", [0, 1, 2, 1000])
def test_a_permutation_holds_every_number_once(length: int) -> None:
    order = Philox(4, "shuffle").permutation(length)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(length))


def test_permutations_are_even() -> None:
    orders = np.stack([Philox(0, "shuffle", epoch).permutation(6) for epoch in range(1200)])
    counts = np.stack([np.bincount(column, minlength=6) for column in orders.T])
    assert np.abs(counts - 200).max() < 60  # four standard deviations and a half
    assert len(np.unique(orders, axis=0)) > 550  # of 720
