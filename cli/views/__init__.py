"""How results and progress look; the commands decide when."""
