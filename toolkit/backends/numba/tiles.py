"""Small dense products in vector registers, which a compiler does not make of a loop by itself.

Each function here becomes a few dozen vector instructions where it is called. Matrices are row-major. Their
rows have `ld` numbers, a multiple of the width of a vector. Only the upper triangle of a matrix is used.

The cache of Numba does not notice a change of this file: touch the files that import it after one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

# What Numba and llvmlite hand over has no annotations.
_Llvm: TypeAlias = Any
_FEATURES = llvm.get_host_cpu_features()
# Bytes of a vector register. A processor has 32 of the widest registers, and at least 16 of the others.
VECTOR_BYTES = 64 if _FEATURES.get("avx512f") else 32 if _FEATURES.get("avx2") else 16
# Rows that are updated together: the sums of three vectors of each fit into the registers.
ROWS = 8 if VECTOR_BYTES == 64 else 4
VECTORS = 3
_I32, _I64 = ir.IntType(32), ir.IntType(64)
# A product and a sum may become one instruction. Nothing else may change: NaN stays NaN.
_FUSE = ("contract",)


class _Vectors:
    """Vectors of the element type of an array: loads, stores and arithmetic."""

    def __init__(self, context: _Llvm, builder: _Llvm, array_type: _Llvm) -> None:
        self.builder = builder
        self.element = context.get_value_type(array_type.dtype)
        self.size = context.get_abi_sizeof(self.element)
        self.width = VECTOR_BYTES // self.size
        self.type = ir.VectorType(self.element, self.width)
        self.zero = ir.Constant(self.type, [0.0] * self.width)

    def load(self, pointer: _Llvm) -> _Llvm:
        found = self.builder.load(self.builder.bitcast(pointer, self.type.as_pointer()))
        found.align = self.size
        return found

    def store(self, value: _Llvm, pointer: _Llvm) -> None:
        done = self.builder.store(value, self.builder.bitcast(pointer, self.type.as_pointer()))
        done.align = self.size

    def spread(self, pointer: _Llvm) -> _Llvm:
        """Load one number into all elements of a vector."""
        return self.repeat(self.builder.load(pointer))

    def repeat(self, number: _Llvm) -> _Llvm:
        """Put one number into all elements of a vector."""
        nothing = ir.Constant(self.type, ir.Undefined)
        one = self.builder.insert_element(nothing, number, ir.Constant(_I32, 0))
        return self.builder.shuffle_vector(one, nothing, self._places(0, self.width, step=0))

    def multiply_add(self, a: _Llvm, b: _Llvm, total: _Llvm) -> _Llvm:
        return self.builder.fadd(self.builder.fmul(a, b, flags=_FUSE), total, flags=_FUSE)

    def multiply_subtract(self, a: _Llvm, b: _Llvm, total: _Llvm) -> _Llvm:
        return self.builder.fsub(total, self.builder.fmul(a, b, flags=_FUSE), flags=_FUSE)

    def sum(self, value: _Llvm) -> _Llvm:
        """Return the sum of the elements of a vector, which is halved again and again."""
        width = self.width
        while width > 1:
            width //= 2
            nothing = ir.Constant(value.type, ir.Undefined)
            low = self.builder.shuffle_vector(value, nothing, self._places(0, width))
            high = self.builder.shuffle_vector(value, nothing, self._places(width, width))
            value = self.builder.fadd(low, high)
        return self.builder.extract_element(value, ir.Constant(_I32, 0))

    @staticmethod
    def _places(first: int, n: int, step: int = 1) -> _Llvm:
        return ir.Constant(ir.VectorType(_I32, n), [first + step * at for at in range(n)])


def _data(context: _Llvm, builder: _Llvm, signature: _Llvm, values: _Llvm, at: int) -> _Llvm:
    return context.make_array(signature.args[at])(context, builder, values[at]).data


def _number(value: int) -> _Llvm:
    return ir.Constant(_I64, value)


def _tile(vectors: int, *, subtract: bool) -> Callable[..., Any]:
    """Return a function that adds products of columns to a tile of `ROWS` by `vectors` vectors."""

    @intrinsic
    def tile(typing_context, out, factor, n, i, j, ld):  # type: ignore[no-untyped-def]
        """out[i + r, j:] ± = Σ_{p < n} factor[p, i + r] · factor[p, j:], for n > 0."""

        def code(context: _Llvm, builder: _Llvm, signature: _Llvm, values: _Llvm) -> _Llvm:
            v = _Vectors(context, builder, signature.args[0])
            to, source = (_data(context, builder, signature, values, at) for at in (0, 1))
            _, _, n, i, j, ld = values
            before = builder.block
            loop, after = (builder.append_basic_block(f"tile.{name}") for name in ("loop", "after"))
            builder.branch(loop)
            builder.position_at_end(loop)
            p = builder.phi(_I64)
            p.add_incoming(_number(0), before)
            sums = [[builder.phi(v.type) for _ in range(vectors)] for _ in range(ROWS)]
            row = builder.gep(source, [builder.mul(p, ld)])
            left, right = builder.gep(row, [i]), builder.gep(row, [j])
            loaded = [v.load(builder.gep(right, [_number(c * v.width)])) for c in range(vectors)]
            added = []
            for r in range(ROWS):
                one = v.spread(builder.gep(left, [_number(r)]))
                added.append([v.multiply_add(one, b, s) for b, s in zip(loaded, sums[r], strict=True)])
            p_next = builder.add(p, _number(1))
            p.add_incoming(p_next, loop)
            for phis, news in zip(sums, added, strict=True):
                for phi, new in zip(phis, news, strict=True):
                    phi.add_incoming(v.zero, before)
                    phi.add_incoming(new, loop)
            builder.cbranch(builder.icmp_signed("<", p_next, n), loop, after)
            builder.position_at_end(after)
            for r, news in enumerate(added):
                start = builder.add(builder.mul(builder.add(i, _number(r)), ld), j)
                for c, new in enumerate(news):
                    pointer = builder.gep(to, [builder.add(start, _number(c * v.width))])
                    change = builder.fsub if subtract else builder.fadd
                    v.store(change(v.load(pointer), new), pointer)
            return context.get_dummy_value()

        return types.void(out, factor, *[types.intp] * 4), code

    return tile  # type: ignore[no-any-return]


add_1, add_2, add_3 = (_tile(n, subtract=False) for n in range(1, VECTORS + 1))
subtract_1, subtract_2, subtract_3 = (_tile(n, subtract=True) for n in range(1, VECTORS + 1))


@intrinsic
def eliminate(typing_context, matrix, block, inverse, i, j, ld):  # type: ignore[no-untyped-def]
    """Solve with a small triangle for one vector of the columns of its rows.

    matrix[i + r, j:] = (matrix[i + r, j:] − Σ_{q < r} block[q, r] · matrix[i + q, j:]) · inverse[i + r]
    """

    def code(context: _Llvm, builder: _Llvm, signature: _Llvm, values: _Llvm) -> _Llvm:
        v = _Vectors(context, builder, signature.args[0])
        to, triangle, scale = (_data(context, builder, signature, values, at) for at in range(3))
        _, _, _, i, j, ld = values
        rows: list[_Llvm] = []
        for r in range(ROWS):
            at = builder.add(i, _number(r))
            pointer = builder.gep(to, [builder.add(builder.mul(at, ld), j)])
            row = v.load(pointer)
            for q, before in enumerate(rows):
                one = v.spread(builder.gep(triangle, [_number(q * ROWS + r)]))
                row = v.multiply_subtract(one, before, row)
            row = builder.fmul(row, v.spread(builder.gep(scale, [at])))
            v.store(row, pointer)
            rows.append(row)
        return context.get_dummy_value()

    return types.void(matrix, block, inverse, *[types.intp] * 3), code


@intrinsic
def dot_rows(typing_context, matrix, vector, out, i, j, ld):  # type: ignore[no-untyped-def]
    """out[r] = matrix[i + r, j:ld] · vector[j:ld], for `ROWS` rows."""

    def code(context: _Llvm, builder: _Llvm, signature: _Llvm, values: _Llvm) -> _Llvm:
        v = _Vectors(context, builder, signature.args[0])
        source, other, to = (_data(context, builder, signature, values, at) for at in range(3))
        _, _, _, i, j, ld = values
        before = builder.block
        loop, body, after = (builder.append_basic_block(f"dot.{name}") for name in ("loop", "body", "after"))
        builder.branch(loop)
        builder.position_at_end(loop)
        column = builder.phi(_I64)
        column.add_incoming(j, before)
        sums = [builder.phi(v.type) for _ in range(ROWS)]
        builder.cbranch(builder.icmp_signed("<", column, ld), body, after)
        builder.position_at_end(body)
        loaded = v.load(builder.gep(other, [column]))
        for r, phi in enumerate(sums):
            at = builder.add(builder.mul(builder.add(i, _number(r)), ld), column)
            phi.add_incoming(v.zero, before)
            phi.add_incoming(v.multiply_add(v.load(builder.gep(source, [at])), loaded, phi), body)
        column.add_incoming(builder.add(column, _number(v.width)), body)
        builder.branch(loop)
        builder.position_at_end(after)
        for r, phi in enumerate(sums):
            builder.store(v.sum(phi), builder.gep(to, [_number(r)]))
        return context.get_dummy_value()

    return types.void(matrix, vector, out, *[types.intp] * 3), code


@intrinsic
def add_rows(typing_context, out, matrix, weights, i, ld):  # type: ignore[no-untyped-def]
    """out[:ld] += Σ_r weights[r] · matrix[i + r, :ld], for `ROWS` rows; ld > 0."""

    def code(context: _Llvm, builder: _Llvm, signature: _Llvm, values: _Llvm) -> _Llvm:
        v = _Vectors(context, builder, signature.args[0])
        to, source, times = (_data(context, builder, signature, values, at) for at in range(3))
        _, _, _, i, ld = values
        weights = [v.spread(builder.gep(times, [_number(r)])) for r in range(ROWS)]
        starts = [builder.gep(source, [builder.mul(builder.add(i, _number(r)), ld)]) for r in range(ROWS)]
        before = builder.block
        loop, after = (builder.append_basic_block(f"rows.{name}") for name in ("loop", "after"))
        builder.branch(loop)
        builder.position_at_end(loop)
        column = builder.phi(_I64)
        column.add_incoming(_number(0), before)
        pointer = builder.gep(to, [column])
        total = v.load(pointer)
        for weight, start in zip(weights, starts, strict=True):
            total = v.multiply_add(weight, v.load(builder.gep(start, [column])), total)
        v.store(total, pointer)
        column_next = builder.add(column, _number(v.width))
        column.add_incoming(column_next, loop)
        builder.cbranch(builder.icmp_signed("<", column_next, ld), loop, after)
        builder.position_at_end(after)
        return context.get_dummy_value()

    return types.void(out, matrix, weights, *[types.intp] * 2), code


def _row(*, add: bool) -> Callable[..., Any]:
    """Return a function that puts a multiple of a row of numbers into another row, or adds it to one."""

    @intrinsic
    def row(typing_context, out, to, source, start, scale, n):  # type: ignore[no-untyped-def]
        """out[to : to + n] (+)= scale · source[start : start + n] of flat arrays; n > 0, by whole vectors."""

        def code(context: _Llvm, builder: _Llvm, signature: _Llvm, values: _Llvm) -> _Llvm:
            v = _Vectors(context, builder, signature.args[0])
            target, data = (
                builder.gep(_data(context, builder, signature, values, at), [values[at + 1]]) for at in (0, 2)
            )
            scale, n = v.repeat(values[4]), values[5]
            before = builder.block
            loop, after = (builder.append_basic_block(f"row.{name}") for name in ("loop", "after"))
            builder.branch(loop)
            builder.position_at_end(loop)
            column = builder.phi(_I64)
            column.add_incoming(_number(0), before)
            pointer, found = builder.gep(target, [column]), v.load(builder.gep(data, [column]))
            v.store(
                v.multiply_add(scale, found, v.load(pointer)) if add else builder.fmul(scale, found), pointer
            )
            column_next = builder.add(column, _number(v.width))
            column.add_incoming(column_next, loop)
            builder.cbranch(builder.icmp_signed("<", column_next, n), loop, after)
            builder.position_at_end(after)
            return context.get_dummy_value()

        return types.void(out, types.intp, source, types.intp, out.dtype, types.intp), code

    return row  # type: ignore[no-any-return]


put_row, add_row = _row(add=False), _row(add=True)


@intrinsic
def prefetch(typing_context, source, start, n):  # type: ignore[no-untyped-def]
    """Ask for the cache lines of source[start : start + n], a flat array."""

    def code(context: _Llvm, builder: _Llvm, signature: _Llvm, values: _Llvm) -> _Llvm:
        v = _Vectors(context, builder, signature.args[0])
        data = _data(context, builder, signature, values, 0)
        start, n = values[1:]
        byte = ir.IntType(8).as_pointer()
        function = ir.FunctionType(ir.VoidType(), [byte, _I32, _I32, _I32])
        ask = cgutils.get_or_insert_function(builder.module, function, "llvm.prefetch.p0i8")
        before = builder.block
        loop, after = (builder.append_basic_block(f"ask.{name}") for name in ("loop", "after"))
        builder.branch(loop)
        builder.position_at_end(loop)
        at = builder.phi(_I64)
        at.add_incoming(_number(0), before)
        pointer = builder.bitcast(builder.gep(data, [builder.add(start, at)]), byte)
        builder.call(ask, [pointer, *(ir.Constant(_I32, value) for value in (0, 3, 1))])
        at_next = builder.add(at, _number(64 // v.size))
        at.add_incoming(at_next, loop)
        builder.cbranch(builder.icmp_signed("<", at_next, n), loop, after)
        builder.position_at_end(after)
        return context.get_dummy_value()

    return types.void(source, types.intp, types.intp), code
