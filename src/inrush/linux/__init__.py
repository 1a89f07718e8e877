"""Linux calls that Python lacks, by ctypes, with the standard library alone: launcher and guest both need them."""
