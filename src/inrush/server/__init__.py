"""The control plane around the core: it owns links, database rows, files and the clock, and carries out what the core
decides."""
