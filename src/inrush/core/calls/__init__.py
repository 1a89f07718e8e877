"""The way of a call's inputs: how they arrive, are routed to slots, leased, retried and resolved."""
