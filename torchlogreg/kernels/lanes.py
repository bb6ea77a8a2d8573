"""Vector registers as values inside compiled functions.

The compiler vectorises plain loops, but not those that keep a tile of a matrix in registers while
they walk down the rows: it cannot rule out that the arrays overlap. These few operations say it.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel.models import PrimitiveModel
from numba.extending import intrinsic, register_model

WIDTH = 512 if binding.get_host_cpu_features().get("avx512f") else 256  # bits of a register
FUSED = bool(binding.get_host_cpu_features().get("fma"))
"""Whether the processor multiplies and adds in one instruction."""
INT = ir.IntType(32)


class Lanes(types.Type):  # type: ignore[misc]  # numba has no annotations
    """A register full of numbers of one dtype."""

    def __init__(self, scalar: Any) -> None:
        self.scalar = scalar
        self.count = WIDTH // scalar.bitwidth
        super().__init__(name=f"Lanes({scalar}, {self.count})")


@register_model(Lanes)
class _LanesModel(PrimitiveModel):  # type: ignore[misc]
    """Lanes are a vector of LLVM."""

    def __init__(self, manager: Any, lanes: Any) -> None:
        scalar = manager.lookup(lanes.scalar).get_value_type()
        super().__init__(manager, lanes, ir.VectorType(scalar, lanes.count))


def _address(context: Any, builder: Any, signature: Any, arguments: Any, kind: Any) -> Any:
    """Address of element ``arguments[1]`` of the array ``arguments[0]``, as a pointer to kind."""
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    return builder.bitcast(builder.gep(array.data, [arguments[1]]), kind.as_pointer())


def _call(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    """Call an intrinsic function of LLVM."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def _spread(builder: Any, value: Any, count: int) -> Any:
    """A vector of ``count`` copies of a scalar."""
    empty = ir.Constant(ir.VectorType(value.type, count), ir.Undefined)
    first = builder.insert_element(empty, value, INT(0))
    return builder.shuffle_vector(first, empty, ir.Constant(ir.VectorType(INT, count), [0] * count))


def _mask(builder: Any, lanes: Lanes, used: Any) -> Any:
    """True in the first ``used`` lanes."""
    order = ir.Constant(ir.VectorType(INT, lanes.count), list(range(lanes.count)))
    return builder.icmp_signed("<", order, _spread(builder, builder.trunc(used, INT), lanes.count))


def _suffix(lanes: Lanes) -> str:
    """How LLVM's intrinsics call the type."""
    return f"v{lanes.count}f{lanes.scalar.bitwidth}"


@intrinsic
def lanes_in(context: Any, array: Any) -> Any:
    """How many numbers of an array's dtype a register holds."""
    count = Lanes(array.dtype).count

    def _generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.get_constant(types.intp, count)

    return types.intp(array), _generate


@intrinsic
def load(context: Any, array: Any, index: Any) -> Any:
    """Elements of a contiguous array from a flat index on."""
    lanes = Lanes(array.dtype)

    def _generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = context.get_value_type(lanes)
        address = _address(context, builder, signature, arguments, kind)
        return builder.load(address, align=array.dtype.bitwidth // 8)

    return lanes(array, types.intp), _generate


@intrinsic
def load_first(context: Any, array: Any, index: Any, used: Any) -> Any:
    """The first ``used`` elements from a flat index on, and zeros; reads nothing behind them."""
    lanes = Lanes(array.dtype)

    def _generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = context.get_value_type(lanes)
        address = _address(context, builder, signature, arguments, kind)
        zeros = ir.Constant(kind, [0.0] * lanes.count)
        values = [address, INT(array.dtype.bitwidth // 8), _mask(builder, lanes, arguments[2])]
        return _call(builder, f"llvm.masked.load.{_suffix(lanes)}.p0", kind, [*values, zeros])

    return lanes(array, types.intp, types.intp), _generate


@intrinsic
def store_first(context: Any, array: Any, index: Any, lanes: Any, used: Any) -> Any:
    """Write the first ``used`` lanes to a contiguous array from a flat index on."""

    def _generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = context.get_value_type(lanes)
        address = _address(context, builder, signature, arguments, kind)
        mask = _mask(builder, lanes, arguments[3])
        values = [arguments[2], address, INT(array.dtype.bitwidth // 8), mask]
        _call(builder, f"llvm.masked.store.{_suffix(lanes)}.p0", ir.VoidType(), values)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes, types.intp), _generate


@intrinsic
def spread(context: Any, scalar: Any) -> Any:
    """A register of copies of one number."""
    lanes = Lanes(scalar)

    def _generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _spread(builder, arguments[0], lanes.count)

    return lanes(scalar), _generate


@intrinsic
def spread_at(context: Any, array: Any, index: Any) -> Any:
    """A register of copies of one element of a contiguous array, by its flat index."""
    lanes = Lanes(array.dtype)

    def _generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = context.get_value_type(array.dtype)
        address = _address(context, builder, signature, arguments, kind)
        return _spread(builder, builder.load(address), lanes.count)

    return lanes(array, types.intp), _generate


@intrinsic
def in_order(context: Any) -> Any:
    """What is loaded behind this is not loaded before it: registers are not filled too early."""

    def _generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [])
        builder.asm(kind, "", "~{memory}", [], True)
        return context.get_dummy_value()

    return types.void(), _generate


@intrinsic
def multiply_add(context: Any, a: Any, b: Any, c: Any) -> Any:
    """``a * b + c``, in one instruction where the processor has it."""

    def _generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _call(builder, f"llvm.fmuladd.{_suffix(a)}", arguments[0].type, list(arguments))

    return a(a, a, a), _generate


@intrinsic
def add(context: Any, a: Any, b: Any) -> Any:
    """``a + b``."""

    def _generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fadd(*arguments)

    return a(a, a), _generate


@intrinsic
def subtract(context: Any, a: Any, b: Any) -> Any:
    """``a - b``."""

    def _generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fsub(*arguments)

    return a(a, a), _generate


@intrinsic
def multiply(context: Any, a: Any, b: Any) -> Any:
    """``a * b``, rounded by itself."""

    def _generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fmul(*arguments)

    return a(a, a), _generate


@intrinsic
def fused(context: Any, a: Any, b: Any, c: Any) -> Any:
    """``a * b + c``, rounded once, whatever the processor."""

    def _generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _call(builder, f"llvm.fma.{_suffix(a)}", arguments[0].type, list(arguments))

    return a(a, a, a), _generate


@intrinsic
def fused_number(context: Any, a: Any, b: Any, c: Any) -> Any:
    """The same of float64 numbers."""

    def _generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _call(builder, "llvm.fma.f64", arguments[0].type, list(arguments))

    return types.float64(types.float64, types.float64, types.float64), _generate


@intrinsic
def fetch_ahead(context: Any, array: Any, index: Any) -> Any:
    """Ask for the cache line of an element, to be read soon; any address is safe."""

    def _generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(context, builder, signature, arguments, ir.IntType(8))
        values = [address, INT(0), INT(2), INT(1)]  # for reading, into the second-level cache
        _call(builder, "llvm.prefetch.p0", ir.VoidType(), values)
        return context.get_dummy_value()

    return types.void(array, types.intp), _generate
