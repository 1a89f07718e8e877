"""What follows when a function, a container or a node comes, changes or goes: one file for each."""
