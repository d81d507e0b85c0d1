"""The CPU device's compiled code: Numba kernels, without the Python around them.

Nothing here is compiled at import: each kernel is at its first call, and kept on disk (`jit.py`).
`vector.py`, `loops.py`, `choice.py`, `product.py`, `thin.py`, `narrow.py` and `depthwise.py` speak
LLVM's language; all others are plain loops.
"""

from __future__ import annotations

import os

# Before Numba is imported: where colorama is installed, Numba's coloured messages would wrap
# standard output, and send an escape sequence to the terminal when the process ends.
os.environ.setdefault("NUMBA_DISABLE_ERROR_MESSAGE_HIGHLIGHTING", "1")
