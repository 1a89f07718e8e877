"""Devices: the GPUs of this node, and what a container needs to see of them."""
