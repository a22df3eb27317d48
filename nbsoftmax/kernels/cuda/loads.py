"""Loads of 16 bytes at a time from arrays in a GPU's memory; Numba alone does not generate them."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.cuda import types
from numba.cuda.extending import intrinsic

BYTES = 16


@intrinsic
def load_wide(typingctx: Any, array: Any, index: Any) -> Any:
    """Load array[index : index + n] as a tuple, where n elements are 16 bytes, from a 1-D contiguous array of floats.

    The address must be a multiple of 16 bytes.
    """
    n = BYTES * 8 // array.dtype.bitwidth
    signature = types.UniTuple(array.dtype, n)(array, index)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        data = context.make_array(kind)(context, builder, arguments[0]).data
        at = builder.gep(data, [arguments[1]], inbounds=True)
        vector = ir.VectorType(context.get_value_type(kind.dtype), n)
        loaded = builder.load(builder.bitcast(at, vector.as_pointer(at.type.addrspace)))
        loaded.align = BYTES
        parts = [builder.extract_element(loaded, ir.Constant(ir.IntType(32), i)) for i in range(n)]
        return context.make_tuple(builder, signature.return_type, parts)

    return signature, codegen
