"""The control plane's shell: it owns links, rows, files and the clock, and acts on what the core decides."""
