"""The agent: what runs on each node, starts containers there and speaks with the guests inside them."""
