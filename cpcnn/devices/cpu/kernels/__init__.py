"""The CPU device's compiled code: Numba kernels, without the Python around them.

Nothing here is compiled at import: each kernel is at its first call, and kept on disk (`jit.py`).
`vector.py`, `choice.py` and `product.py` are those that speak LLVM; all others are plain loops.
"""
