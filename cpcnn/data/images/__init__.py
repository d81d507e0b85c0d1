"""One image file: what it holds, decoded and brought to the size of the input."""
