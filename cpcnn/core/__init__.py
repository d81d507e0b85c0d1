"""Words everybody uses: parameters, context, windows, randomness and errors."""
