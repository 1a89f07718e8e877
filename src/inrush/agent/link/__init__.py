"""The agent's side of its link to the server: what it is ordered and what it reports."""
