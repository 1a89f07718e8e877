"""Links: the sessions of clients and guests over sockets and WebSockets, and the answers to their asks."""
