"""Nodes, pools, containers, builds and commands: what the server orders of agents."""
