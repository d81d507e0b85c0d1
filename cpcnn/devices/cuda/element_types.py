"""The types of elements: as C++ names them, as NumPy does, and how many of them a load moves."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

FLOATS = ("float", "double", "__half", "__nv_bfloat16")
DTYPES = {
    "float": "float32",
    "double": "float64",
    "__half": "float16",
    "__nv_bfloat16": "bfloat16",
    "unsigned char": "uint8",
    "int": "int32",
    "unsigned int": "uint32",
    "long long": "int64",
    "unsigned long long": "uint64",
    "bool": "bool",
}
C_TYPES = {dtype: c_type for c_type, dtype in DTYPES.items()}
VECTOR_BYTES = 16  # the widest load of a thread


def accumulator(c_type: str) -> str:
    """Return the type in which sums of a type are taken: `Accumulator<T>` of common.cuh."""
    return "double" if c_type == "double" else "float"


def element_size(dtype: str) -> int:
    """Return the bytes of one element."""
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize


def full_vector(c_type: str) -> int:
    """Return how many elements of a type the widest load holds."""
    return VECTOR_BYTES // element_size(DTYPES[c_type])


def dtype_name(array: Any) -> str:
    """Return the name of an array's dtype: "float32"."""
    return _name(array.dtype)


def c_type_of(array: Any) -> str:
    """Return the C type of an array's elements."""
    return C_TYPES[dtype_name(array)]


def is_floating(*arrays: Any) -> bool:
    """Whether all arrays hold one of the types that our kernels compute in."""
    first = dtype_name(arrays[0])
    return C_TYPES.get(first) in FLOATS and all(dtype_name(array) == first for array in arrays)


@cache
def _name(dtype: Any) -> str:
    # NumPy composes the text anew each time, which takes longer than all the rest of a check
    return str(dtype)
