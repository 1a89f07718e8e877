"""A second shell for the core: virtual time, simulated nodes, faults and traffic. Nothing in it waits or draws
chance."""
