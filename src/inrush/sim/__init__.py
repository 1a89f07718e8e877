"""The simulator: it drives the real core in virtual time, with simulated nodes, faults and traffic. Nothing in it waits
or draws from a random source."""
