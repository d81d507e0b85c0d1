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

from .loops import not_unrolled
from .vector import (
    FLOAT,
    INT,
    LANES,
    VECTOR,
    bare,
    fused_multiply_add,
    integer,
    mask_of,
    masked_load,
    masked_store,
    prefetch,
    splat,
    vector_at,
)

ROWS = 6
VECTORS = 2 if LANES == 8 else 4  # of a row: AVX has half as many registers as its successors
COLUMNS = VECTORS * LANES
FETCHES = 32  # places that are fetched for a product, a power of two
AHEAD = 8  # rounds before A is needed
CHAIN = 256  # terms that are added one by one: constants then lose 4e-6 at most, others 6e-7


def _make(*, gather: bool = False, add: bool = False) -> Any:
    """Make what kernels call: a function of the compiled code, which finds the width in `columns`.

    It is written in LLVM's language as a whole: each kernel has it once, and Numba has no part in
    compiling it.
    """

    @intrinsic
    def product(
        typing: Any,
        columns: Any,
        a: Any,
        a_rows: Any,
        a_start: Any,
        a_step: Any,
        b: Any,
        b_start: Any,
        b_rows: Any,
        b_step: Any,
        c: Any,
        c_rows: Any,
        c_start: Any,
        row: Any,
        depth: Any,
    ) -> Any:
        n = types.int64
        step, table = (a_step, b_rows) if gather else (n, n)
        sig = types.void(n, a, a_rows, n, step, b, n, table, n, c, c_rows, n, n, n)

        def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            function = _function(builder.module, gather, add)
            builder.call(function, bare(context, builder, sig, args))
            return context.get_dummy_value()

        return sig, code

    return product


def _function(module: Any, gather: bool, add: bool) -> Any:
    """Return the function in this module, written at the first call."""
    name = f"cpcnn_product_{LANES}{'_gather' * gather}{'_add' * add}"
    if name in module.globals:
        return module.globals[name]
    floats, numbers = FLOAT.as_pointer(), INT.as_pointer()
    step = numbers if gather else INT
    kinds = [INT, floats, numbers, INT, step, floats, INT, step, INT, floats, numbers, INT]
    kinds += [INT, INT]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), name)
    function.linkage = "linkonce_odr"  # once, however many parts of a kernel bring it along
    function.attributes.add("noinline")
    builder = ir.IRBuilder(function.append_basic_block())
    for vectors in range(1, VECTORS):
        fits = builder.icmp_signed("<=", function.args[0], integer(vectors * LANES))
        with builder.if_then(fits):
            _Code(builder, vectors, gather, add, *function.args).write()
            builder.ret_void()
    _Code(builder, VECTORS, gather, add, *function.args).write()
    builder.ret_void()
    return function


class _Code:
    """The product for rows of `vectors` vectors: a loop around a block of fused multiply-adds."""

    def __init__(
        self,
        builder: Any,
        vectors: int,
        gather: bool,
        add: bool,
        columns: Any,
        a: Any,
        a_rows: Any,
        a_start: Any,
        a_step: Any,
        b: Any,
        b_start: Any,
        b_rows: Any,
        b_step: Any,
        c: Any,
        c_rows: Any,
        c_start: Any,
        row: Any,
        depth: Any,
    ) -> None:
        self.builder, self.vectors, self.gather, self.add = builder, vectors, gather, add
        self.a_step, self.b_rows, self.b_step, self.depth = a_step, b_rows, b_step, depth
        a, c = builder.gep(a, [a_start]), builder.gep(c, [c_start])
        self.b = builder.gep(b, [b_start])
        self.a_lines = [self._row(a, a_rows, row, i) for i in range(ROWS)]
        self.c_lines = [self._row(c, c_rows, row, i) for i in range(ROWS)]
        self.soon = self._soon(a, a_rows, row) if gather and not add and vectors > 1 else None
        self.mask = mask_of(builder, builder.sub(columns, integer((vectors - 1) * LANES)))

    def write(self) -> None:
        for i, line in enumerate(self._sums()):
            for j, value in enumerate(line):
                pointer = vector_at(self.builder, self.c_lines[i], integer(j * LANES))
                self._store(value, pointer, last=j == self.vectors - 1)

    def _row(self, base: Any, table: Any, row: Any, i: int) -> Any:
        at = self.builder.add(row, integer(i))
        return self.builder.gep(base, [self.builder.load(self.builder.gep(table, [at]))])

    def _soon(self, a: Any, a_rows: Any, row: Any) -> Any:
        """Keep what to fetch while the sums are made: rows of C, and where A's next rows begin."""
        builder = self.builder
        vectors = [integer(j * LANES) for j in range(self.vectors)]
        places = [builder.gep(line, [at]) for at in vectors for line in self.c_lines]
        places += [self._row(a, a_rows, row, ROWS + i) for i in range(ROWS)]
        with builder.goto_entry_block():
            kept = builder.alloca(FLOAT.as_pointer(), FETCHES)
        for i in range(FETCHES):
            builder.store(places[i % len(places)], builder.gep(kept, [integer(i)]))
        return kept

    def _fetch(self, k: Any) -> None:
        """Fetch one place in each round: more at once are in the way of what is needed now."""
        builder = self.builder
        if self.soon is not None:
            at = builder.and_(k, integer(FETCHES - 1))
            prefetch(builder, builder.load(builder.gep(self.soon, [at])))
        elif self.add and self.vectors > 1:
            later = builder.load(builder.gep(self.a_step, [builder.add(k, integer(AHEAD))]))
            prefetch(builder, builder.gep(self.a_lines[-1], [later]))

    def _sums(self) -> list[list[Any]]:
        """All sums: those of pieces of the depth, which are added in memory if there are several.

        A sum of more terms rounds more, the more the more of them have one sign.
        """
        builder, before = self.builder, self.builder.block
        with builder.goto_entry_block():
            kept = builder.alloca(VECTOR, ROWS * self.vectors)
        piece, several = builder.append_basic_block("piece"), builder.append_basic_block("several")
        done = builder.append_basic_block("done")
        builder.branch(piece)
        builder.position_at_end(piece)
        starts = [self._variable(INT, integer(0), before) for _ in range(1 if self.gather else 3)]
        following = builder.add(starts[0], integer(CHAIN))
        is_last = builder.icmp_signed(">=", following, self.depth)
        end = builder.select(is_last, self.depth, following)
        sums, places = self._sums_of_piece(starts, end)
        is_first = builder.icmp_signed("==", starts[0], integer(0))
        whole, after_piece = builder.and_(is_first, is_last), builder.block
        builder.cbranch(whole, done, several)
        builder.position_at_end(several)
        totals = self._keep(kept, sums, is_first)
        for start, place in zip(starts, places, strict=True):
            start.add_incoming(place, builder.block)
        builder.cbranch(is_last, done, piece)
        builder.position_at_end(done)
        return [
            [
                self._either(total, several, value, after_piece)
                for value, total in zip(*lines, strict=True)
            ]
            for lines in zip(sums, totals, strict=True)
        ]

    def _keep(self, kept: Any, sums: list[list[Any]], is_first: Any) -> list[list[Any]]:
        """Add the sums of a piece to those of the pieces before it."""
        builder, zero = self.builder, ir.Constant(VECTOR, None)
        totals = []
        for i, line in enumerate(sums):
            places = [builder.gep(kept, [integer(i * self.vectors + j)]) for j in range(len(line))]
            old = [builder.select(is_first, zero, builder.load(place)) for place in places]
            totals.append([builder.fadd(*pair) for pair in zip(line, old, strict=True)])
            for place, total in zip(places, totals[-1], strict=True):
                builder.store(total, place)
        return totals

    def _either(self, one: Any, its_block: Any, other: Any, other_block: Any) -> Any:
        value = self.builder.phi(VECTOR)
        value.add_incoming(one, its_block)
        value.add_incoming(other, other_block)
        return value

    def _sums_of_piece(self, starts: list[Any], end: Any) -> tuple[list[list[Any]], list[Any]]:
        """The loop over the depth from `starts` on, with all sums in registers.

        Places are of the depth and, without tables, in A and in B; the second result is where they
        are at the end.
        """
        builder, before = self.builder, self.builder.block
        loop, after = builder.append_basic_block("depth"), builder.append_basic_block("summed")
        builder.branch(loop)
        builder.position_at_end(loop)
        zero = ir.Constant(VECTOR, None)
        places = [self._variable(INT, start, before) for start in starts]
        old = [
            [self._variable(VECTOR, zero, before) for _ in range(self.vectors)] for _ in range(ROWS)
        ]
        self._fetch(places[0])
        new = self._multiply_add(*self._factors_at(places), old)
        steps = (integer(1), self.a_step, self.b_step)[: len(places)]
        following = [builder.add(place, step) for place, step in zip(places, steps, strict=True)]
        for variable, place in zip(places, following, strict=True):
            variable.add_incoming(place, loop)
        for old_line, new_line in zip(old, new, strict=True):
            for variable, value in zip(old_line, new_line, strict=True):
                variable.add_incoming(value, loop)
        again = builder.cbranch(builder.icmp_signed("<", following[0], end), loop, after)
        again.set_metadata("llvm.loop", not_unrolled(builder.module))
        builder.position_at_end(after)
        return new, following

    def _factors_at(self, places: list[Any]) -> tuple[Any, Any]:
        """Where in the rows of A, and in B, the factors of a round lie."""
        if not self.gather:
            return places[1], places[2]
        builder = self.builder
        a_offset, b_row = (builder.load(builder.gep(t, places)) for t in (self.a_step, self.b_rows))
        return a_offset, builder.mul(b_row, self.b_step)

    def _variable(self, kind: Any, start: Any, before: Any) -> Any:
        phi = self.builder.phi(kind)
        phi.add_incoming(start, before)
        return phi

    def _multiply_add(self, a_offset: Any, b_offset: Any, sums: list[list[Any]]) -> list[list[Any]]:
        builder = self.builder
        line = [
            self._load(
                vector_at(builder, self.b, builder.add(b_offset, integer(j * LANES))),
                last=j == self.vectors - 1,
            )
            for j in range(self.vectors)
        ]
        results = []
        for row, totals in zip(self.a_lines, sums, strict=True):
            factor = splat(builder, builder.load(builder.gep(row, [a_offset])))
            pairs = zip(line, totals, strict=True)
            results.append([fused_multiply_add(builder, factor, b, total) for b, total in pairs])
        return results

    def _load(self, pointer: Any, last: bool) -> Any:
        if last:
            return masked_load(self.builder, pointer, self.mask)
        return self.builder.load(pointer, align=4)

    def _store(self, value: Any, pointer: Any, last: bool) -> None:
        if self.add:
            value = self.builder.fadd(value, self._load(pointer, last))
        if last:
            masked_store(self.builder, value, pointer, self.mask)
        else:
            self.builder.store(value, pointer, align=4)


# Called with `columns, a, a_rows, a_start, a_step, b, b_start, 0, b_step, c, c_rows, c_start, row,
# depth`, all arrays flat, they write ROWS rows of `columns` (at most COLUMNS) numbers:
#     C[c_rows[row + i] + c_start + j] = sum over k < depth of
#         A[a_rows[row + i] + a_start + k * a_step] * B[b_start + k * b_step + j]
# Rows of C may be the same, and are then written more than once.
multiply = _make()
# The same with arrays `a_step` and `b_rows`, the latter instead of the 0:
#     A[a_rows[row + i] + a_start + a_step[k]] * B[b_start + b_rows[k] * b_step + j]
gather_multiply = _make(gather=True)
# The same, added to C, whose rows must not be the same.
gather_multiply_add = _make(gather=True, add=True)
