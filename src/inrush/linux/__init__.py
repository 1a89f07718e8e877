"""Linux system calls that Python lacks, by ctypes. Launcher and guest use them, so they need the standard library
alone."""
