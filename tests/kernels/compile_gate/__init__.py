"""Compiles every kernel without a GPU, and looks at the machine code that came out.

NVRTC, CUDA's compiler, is a library that needs neither a driver nor a device, and `nvdisasm` reads
what it makes. Both come as wheels with the extra `test`.
"""
