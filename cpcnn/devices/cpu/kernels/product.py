"""The product at the heart of every convolution: ROWS × up to COLUMNS sums, kept in registers.

What a matrix product in a BLAS library calls its micro-kernel (Goto and van de Geijn, 2008), with
rows that may lie anywhere: a convolution's windows are read where they are, and no copy of them
is made.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .jit import part
from .vector import (
    INT,
    LANES,
    VECTOR,
    data_pointer,
    fused_multiply_add,
    mask_of,
    masked_load,
    masked_store,
    splat,
    vector_at,
)

ROWS = 6
VECTORS = 2 if LANES == 8 else 4  # of a row: AVX has half as many registers as its successors
COLUMNS = VECTORS * LANES

STORE, ADD = 0, 1


def _make(vectors: int, mode: int) -> Any:
    """Make the product for rows of so many vectors."""

    @intrinsic  # type: ignore[misc]
    def product(
        typing: Any,
        columns: Any,
        a: Any,
        a_rows: Any,
        a_segments: Any,
        a_step: Any,
        b: Any,
        b_start: Any,
        b_segment: Any,
        b_step: Any,
        c: Any,
        c_rows: Any,
        c_start: Any,
        segments: Any,
        depth: Any,
    ) -> Any:
        number = types.int64
        sig = types.void(
            number, a, a_rows, a_segments, number, b, number, number, number,
            c, c_rows, number, number, number,
        )  # fmt: skip

        def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            values = dict(zip(_NAMES, args, strict=True))
            for name, numba_type in zip(_NAMES, sig.args, strict=True):
                if isinstance(numba_type, types.Array):
                    values[name] = data_pointer(context, builder, numba_type, values[name])
            _Emitter(builder, vectors, mode, **values).emit()
            return context.get_dummy_value()

        return sig, code

    return product


_NAMES = (
    "columns", "a", "a_rows", "a_segments", "a_step", "b", "b_start", "b_segment", "b_step",
    "c", "c_rows", "c_start", "segments", "depth",
)  # fmt: skip


class _Emitter:
    """Writes the LLVM code: two nested loops around a block of fused multiply-adds."""

    def __init__(self, builder: Any, vectors: int, mode: int, **values: Any) -> None:
        self.builder = builder
        self.vectors = vectors
        self.mode = mode
        self.__dict__.update(values)

    def emit(self) -> None:
        builder = self.builder
        rows = [self._row(self.a, self.a_rows, i) for i in range(ROWS)]  # type: ignore[attr-defined]
        b = builder.gep(self.b, [self.b_start])  # type: ignore[attr-defined]
        rest = builder.sub(self.columns, _int((self.vectors - 1) * LANES))  # type: ignore[attr-defined]
        self.mask = mask_of(builder, rest)
        sums = self._segment_loop(rows, b)
        self._write(sums)

    def _row(self, base: Any, table: Any, i: int) -> Any:
        offset = self.builder.load(self.builder.gep(table, [_int(i)]))
        return self.builder.gep(base, [offset])

    def _segment_loop(self, rows: list[Any], b: Any) -> list[Any]:
        builder, before = self.builder, self.builder.block
        loop, after = (builder.append_basic_block(name) for name in ("segment", "segments_done"))
        builder.branch(loop)
        builder.position_at_end(loop)
        segment = _phi(builder, INT, _int(0), before)
        b_offset = _phi(builder, INT, _int(0), before)
        zero = ir.Constant(VECTOR, None)
        sums = [_phi(builder, VECTOR, zero, before) for _ in range(ROWS * self.vectors)]
        a_offset = builder.load(builder.gep(self.a_segments, [segment]))  # type: ignore[attr-defined]
        results = self._depth_loop(rows, b, a_offset, b_offset, sums)
        last = builder.block
        following = builder.add(segment, _int(1))
        segment.add_incoming(following, last)
        b_offset.add_incoming(builder.add(b_offset, self.b_segment), last)  # type: ignore[attr-defined]
        for total, result in zip(sums, results, strict=True):
            total.add_incoming(result, last)
        more = builder.icmp_signed("<", following, self.segments)  # type: ignore[attr-defined]
        builder.cbranch(more, loop, after)
        builder.position_at_end(after)
        return results

    def _depth_loop(
        self, rows: list[Any], b: Any, a_start: Any, b_start: Any, starts: list[Any]
    ) -> list[Any]:
        builder, before = self.builder, self.builder.block
        loop, after = (builder.append_basic_block(name) for name in ("depth", "depth_done"))
        builder.branch(loop)
        builder.position_at_end(loop)
        k = _phi(builder, INT, _int(0), before)
        a_offset = _phi(builder, INT, a_start, before)
        b_offset = _phi(builder, INT, b_start, before)
        sums = [_phi(builder, VECTOR, start, before) for start in starts]
        results = self._multiply(rows, b, a_offset, b_offset, sums)
        following = builder.add(k, _int(1))
        k.add_incoming(following, loop)
        a_offset.add_incoming(builder.add(a_offset, self.a_step), loop)  # type: ignore[attr-defined]
        b_offset.add_incoming(builder.add(b_offset, self.b_step), loop)  # type: ignore[attr-defined]
        for total, result in zip(sums, results, strict=True):
            total.add_incoming(result, loop)
        more = builder.icmp_signed("<", following, self.depth)  # type: ignore[attr-defined]
        builder.cbranch(more, loop, after)
        builder.position_at_end(after)
        return results

    def _multiply(
        self, rows: list[Any], b: Any, a_offset: Any, b_offset: Any, sums: list[Any]
    ) -> list[Any]:
        builder, vectors = self.builder, []
        for j in range(self.vectors):
            pointer = vector_at(builder, b, builder.add(b_offset, _int(j * LANES)))
            if j == self.vectors - 1:
                vectors.append(masked_load(builder, pointer, self.mask))
            else:
                vectors.append(builder.load(pointer, align=4))
        results = []
        for i, row in enumerate(rows):
            factor = splat(builder, builder.load(builder.gep(row, [a_offset])))
            for j, value in enumerate(vectors):
                total = sums[i * self.vectors + j]
                results.append(fused_multiply_add(builder, factor, value, total))
        return results

    def _write(self, sums: list[Any]) -> None:
        builder = self.builder
        for i in range(ROWS):
            row = builder.gep(self._row(self.c, self.c_rows, i), [self.c_start])  # type: ignore[attr-defined]
            for j in range(self.vectors):
                pointer = vector_at(builder, row, _int(j * LANES))
                value, masked = sums[i * self.vectors + j], j == self.vectors - 1
                if self.mode == ADD:
                    old = (
                        masked_load(builder, pointer, self.mask)
                        if masked
                        else builder.load(pointer, align=4)
                    )
                    value = builder.fadd(value, old)
                if masked:
                    masked_store(builder, value, pointer, self.mask)
                else:
                    builder.store(value, pointer, align=4)


def _int(value: int) -> Any:
    return ir.Constant(INT, value)


def _phi(builder: Any, kind: Any, start: Any, before: Any) -> Any:
    phi = builder.phi(kind)
    phi.add_incoming(start, before)
    return phi


_store_1, _store_2, _store_3, _store_4 = (_make(vectors, STORE) for vectors in (1, 2, 3, 4))
_add_1, _add_2, _add_3, _add_4 = (_make(vectors, ADD) for vectors in (1, 2, 3, 4))


@part
def store_product(columns, *arguments):  # type: ignore[no-untyped-def]
    """Write to C, in ROWS rows and `columns` (at most COLUMNS) columns, the sums of products.

    The arguments are `a, a_rows, a_segments, a_step, b, b_start, b_segment, b_step, c, c_rows,
    c_start, segments, depth`: C[c_rows[i] + c_start + j] = the sum over s < segments and
    k < depth of A[a_rows[i] + a_segments[s] + k * a_step] * B[b_start + s * b_segment +
    k * b_step + j]. All arrays are flat. Rows may be the same: they are written twice.
    """
    if columns > 3 * LANES:
        _store_4(columns, *arguments)
    elif columns > 2 * LANES:
        _store_3(columns, *arguments)
    elif columns > LANES:
        _store_2(columns, *arguments)
    else:
        _store_1(columns, *arguments)


@part
def add_product(columns, *arguments):  # type: ignore[no-untyped-def]
    """Add to C what `store_product` writes; no two of its rows may be the same."""
    if columns > 3 * LANES:
        _add_4(columns, *arguments)
    elif columns > 2 * LANES:
        _add_3(columns, *arguments)
    elif columns > LANES:
        _add_2(columns, *arguments)
    else:
        _add_1(columns, *arguments)
