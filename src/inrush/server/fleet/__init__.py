"""What the server orders of agents: nodes, pools, containers, builds and commands."""
