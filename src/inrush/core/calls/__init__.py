"""The way of a call's inputs: taken in, routed to slots, leased, retried, ended."""
