"""Container images on a node: the store of layers, the builds that make them, and the base images."""
