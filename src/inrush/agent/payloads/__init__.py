"""Large payloads on this node, and the descriptors that carry them."""
