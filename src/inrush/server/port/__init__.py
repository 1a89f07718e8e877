"""The protection of the HTTP port before a token is known: limits on connections, on the time and size of requests, and
on host names."""
