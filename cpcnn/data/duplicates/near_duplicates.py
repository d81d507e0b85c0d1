"""Near duplicates: which of many images show the same picture, and how they fall into groups.

Found are copies that were resized, encoded again, brightened by some 15 % or cropped by some 5 %,
of images from 28 x 28 pixels up. Not found are mirrored and turned copies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...core.errors import UsageError
from .near_candidates import Pairs, candidates
from .near_match import SURE, Floats, Pictures, differences
from .perceptual_hash import CHROMA_SIDE, WORDS

BLANK = 1.0  # grey levels: with less contrast there is nothing to compare but the colour
SHADES = 8  # levels of luma that make one shade of blank images; of chroma, twice as many
CROWD = 8  # sure partners: more than that may lie around an image, unseen
LEADERS = 32
MANY = 64  # that hang together are a kind
MUCH = 0.4  # of the usual difference to the USUAL-nearest
USUAL = 3


def find_near_pairs(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the pairs of hashes (N, WORDS) that show the same image, int64 (P, 2), sorted.

    The first of a pair is the smaller. Time and memory grow with N, not with its square, and so
    does P, however many images are alike:

    - of equal hashes, each is paired with the first of them alone;
    - so are blank images of one shade;
    - an image is compared with its 32 nearest. Where 8 are the same beyond doubt, as in a crowd of
      copies, it is also paired with the first image of the crowd.

    Where more than 64 images hang together, each like the next, they are a kind of picture rather
    than copies: the trousers of Fashion-MNIST, the frames of a film. Among them a pair counts if it
    is the same beyond doubt, or much more alike than is usual there.

    Raises UsageError for an array of another kind.
    """
    if hashes.dtype != np.uint64 or hashes.ndim != 2 or hashes.shape[1] != WORDS:
        raise UsageError(
            f"hashes must be uint64 (N, {WORDS}), not {hashes.dtype} {hashes.shape}.",
            suggestion="Compute them with hash_images or hash_files.",
        )
    first = _first_of_equal(hashes)
    distinct = np.flatnonzero(first == np.arange(len(first)))
    pictures = Pictures.of(hashes)
    blank = pictures.contrast[distinct] < BLANK
    pairs, apart = _matched(pictures, distinct[~blank])
    pairs = pairs[:, _outstanding(pairs, apart, len(hashes))]
    found = [_with_first(first), *_blank_pairs(pictures, distinct[blank]), pairs]
    return np.ascontiguousarray(_ordered(found).T)


def groups_of(pairs: ArrayLike, count: int) -> list[tuple[int, ...]]:
    """Return groups of two or more of `count` images, joined by pairs (P, 2), in order.

    Every image that has a partner is in one group. A group has a centre, the image with most
    partners, and in it are partners of the centre and partners of these, none farther: a row of
    images of which each is like the next, as in a film, is cut in several groups, and then there
    are pairs between groups (star clustering; Aslam, Pelekhov and Rus, "The star clustering
    algorithm", 2004).
    """
    links = np.asarray(pairs, np.int64).reshape(-1, 2)
    both = np.concatenate([links, links[:, ::-1]])
    both = both[np.argsort(both[:, 0], kind="stable")]
    degree = np.bincount(both[:, 0], minlength=count)
    ends = np.cumsum(degree)
    group = np.full(count, -1)
    for image in np.argsort(-degree, kind="stable")[: np.count_nonzero(degree)]:
        if group[image] >= 0:
            continue
        partners = both[ends[image] - degree[image] : ends[image], 1]
        free = partners[group[partners] < 0]
        if len(free):
            group[free] = group[image] = image
        else:  # all partners are in groups, next to the centres: join that of the best connected
            group[image] = group[partners[np.argmax(degree[partners])]]
    return _listed(group)


def _listed(group: NDArray[np.int64]) -> list[tuple[int, ...]]:
    members = np.argsort(group, kind="stable")
    members = members[group[members] >= 0]
    cuts = np.flatnonzero(np.diff(group[members])) + 1
    return sorted(tuple(part.tolist()) for part in np.split(members, cuts) if len(part))


# ---- Equal and blank -------------------------------------------------------------------------


def _first_of_equal(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return for each hash the position of the first one that is equal to it."""
    # One odd factor a word makes one word of each hash, quickly sorted; equality is then checked,
    # and hashes that share the word by chance are just not found here.
    factors = np.arange(1, 2 * WORDS, 2, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    digest = np.zeros(len(hashes), np.uint64)
    for word in range(WORDS):
        digest = (digest ^ hashes[:, word] ^ (hashes[:, word] >> np.uint64(29))) * factors[word]
    _, first, inverse = np.unique(digest, return_index=True, return_inverse=True)
    first = first[inverse].astype(np.int64)
    own = np.arange(len(hashes))
    return np.where((hashes[first] == hashes).all(1), first, own)


def _with_first(first: NDArray[np.int64]) -> Pairs:
    later = np.flatnonzero(first != np.arange(len(first)))
    return np.stack([first[later], later])


def _blank_pairs(pictures: Pictures, rows: NDArray[np.int64]) -> Iterator[Pairs]:
    """Yield blank images with the first of their shade.

    Shades are cells of luma and mean chroma, twice, the second time shifted by half a cell, so that
    no edge of a cell comes between images of almost the same shade.
    """
    chroma = pictures.chroma[rows].reshape(len(rows), CHROMA_SIDE**2, 2).mean(1) / (2 * SHADES)
    place = np.column_stack([pictures.mean[rows] / SHADES, chroma])
    for shift in (0.0, 0.5):
        cells = np.floor(place + shift).astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
        _, first, inverse = np.unique(cells, return_index=True, return_inverse=True)
        yield rows[_with_first(first[inverse])]


# ---- Alike -----------------------------------------------------------------------------------


def _matched(pictures: Pictures, rows: NDArray[np.int64]) -> tuple[Pairs, Floats]:
    """Return the pairs (2, P) that show the same image, and how much they differ, (P,)."""
    nothing = np.empty((2, 0), np.int64), np.empty(0, np.float32)
    offers = (_ordered([offered]) for offered in candidates(pictures, rows))
    pairs, apart = _joined([nothing, *(_same(pictures, offered) for offered in offers)])
    return _joined([(pairs, apart), *_crowds(pictures, pairs[:, apart <= SURE])])


def _crowds(pictures: Pictures, sure: Pairs) -> Iterator[tuple[Pairs, Floats]]:
    """Yield what is in a crowd with its first image, that is, with the first one it is surely like.

    In a crowd are images with at least CROWD partners of which they are sure. LEADERS of them are
    tried as first images.
    """
    crowd = np.flatnonzero(np.bincount(sure.ravel()) >= CROWD)
    for _ in range(LEADERS):
        if len(crowd) < 2:
            return
        pairs, apart = _same(pictures, np.stack([np.full(len(crowd) - 1, crowd[0]), crowd[1:]]))
        pairs, apart = pairs[:, apart <= SURE], apart[apart <= SURE]
        yield pairs, apart
        crowd = np.setdiff1d(crowd[1:], pairs[1], assume_unique=True)


def _same(pictures: Pictures, pairs: Pairs) -> tuple[Pairs, Floats]:
    apart = differences(pictures, *pairs)
    same = np.isfinite(apart)
    return pairs[:, same], apart[same]


def _joined(parts: Iterable[tuple[Pairs, Floats]]) -> tuple[Pairs, Floats]:
    """Join pairs and what they differ by; each pair once, in order."""
    every = list(parts)
    pairs = np.concatenate([pairs for pairs, _ in every], axis=1)
    apart = np.concatenate([apart for _, apart in every])
    chosen = _once(pairs)
    return pairs[:, chosen], apart[chosen]


def _outstanding(pairs: Pairs, apart: Floats, count: int) -> NDArray[np.bool_]:
    """Return which pairs count: all that hang together in small numbers, else the closest (P,)."""
    together = _connected(pairs, count)
    few = np.bincount(together, minlength=1)[together[pairs[0]]] <= MANY
    ends, twice = np.concatenate(list(pairs)), np.concatenate([apart, apart])
    order = np.lexsort((twice, ends))
    ends, twice = ends[order], twice[order]
    rank = np.arange(len(ends)) - np.searchsorted(ends, ends)
    usual = np.full(count, np.inf)
    usual[ends[rank == USUAL - 1]] = twice[rank == USUAL - 1]
    much_closer = apart <= MUCH * np.minimum(usual[pairs[0]], usual[pairs[1]])
    return few | much_closer | (apart <= SURE)


def _connected(pairs: Pairs, count: int) -> NDArray[np.int64]:
    """Return for each of `count` images the first one that it hangs together with, (N,)."""
    label = np.arange(count)
    while True:
        least = np.minimum(*label[pairs])
        lower = label.copy()
        for end in label[pairs]:
            np.minimum.at(lower, end, least)
        lower = lower[lower]
        if np.array_equal(lower, label):
            return label
        label = lower


def _ordered(parts: Sequence[Pairs]) -> Pairs:
    """Join pairs (2, P), each once, in order."""
    pairs = np.concatenate(parts, axis=1)
    return pairs[:, _once(pairs)]


def _once(pairs: Pairs) -> NDArray[np.int64]:
    """Return where in (2, P) the different pairs are, in their order."""
    order = np.lexsort(pairs[::-1])
    repeated = (np.diff(pairs[:, order], axis=1) == 0).all(0)
    return np.delete(order, 1 + np.flatnonzero(repeated))
