"""What stands before the HTTP port: how many connections, how long and how large a request may be, and whose names it
answers to. Nobody has shown a token here yet."""
