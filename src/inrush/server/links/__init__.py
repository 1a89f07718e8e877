"""Links: sessions of clients and of guests, over sockets and WebSockets, and what they ask."""
