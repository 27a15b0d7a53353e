"""One vector instruction that the projector and the back-projector live on.

Left to itself the compiler does not vectorise a loop over sixteen channels, because output and input might overlap;
written as vectors it takes a quarter of the time. Fused multiply-add is asked for by name, so that the same bytes come
out whatever the compiler would have chosen.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

#: Values per place of an image: (planes or sub-slices) x (water, titanium), or slices of a reconstruction.
CHANNELS = 16

_LANE, _INT32, _INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_VECTOR = ir.VectorType(_LANE, CHANNELS)


def _splat(builder: Any, value: Any) -> Any:
    """All channels equal to ``value``."""
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, ir.Constant(_INT32, 0))
    lanes = ir.Constant(ir.VectorType(_INT32, CHANNELS), [0] * CHANNELS)
    return builder.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), lanes)


def _place(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    """Pointer to the vector at ``array[index]`` of a C-ordered (N, CHANNELS) array."""
    data = context.make_array(kind)(context, builder, array).data
    first = builder.gep(data, [builder.mul(index, ir.Constant(_INT64, CHANNELS))])
    return builder.bitcast(first, _VECTOR.as_pointer())


def _lerp_add(_typing: Any, out: Any, k: Any, row: Any, i: Any, w0: Any, w1: Any) -> Any:
    """``out[k] += w0 * row[i] + w1 * row[i + 1]`` for C-ordered (N, CHANNELS) float32 arrays, unchecked."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        to, k_, source, i_, first, second = values
        target = _place(context, builder, signature.args[0], to, k_)
        here = _place(context, builder, signature.args[2], source, i_)
        after = builder.gep(here, [ir.Constant(_INT64, 1)])
        fused = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_VECTOR, [_VECTOR] * 3), f"llvm.fma.v{CHANNELS}f32"
        )
        total = builder.load(target, align=4)
        for weight, place in ((second, after), (first, here)):
            total = builder.call(fused, [_splat(builder, weight), builder.load(place, align=4), total])
        builder.store(total, target, align=4)
        return context.get_dummy_value()

    return types.void(out, types.int64, row, types.int64, types.float32, types.float32), generate


lerp_add: Any = intrinsic(_lerp_add)
