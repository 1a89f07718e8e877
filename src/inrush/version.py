"""The version of this package, which client and server compare when they meet."""

__version__ = "0.1.0"
