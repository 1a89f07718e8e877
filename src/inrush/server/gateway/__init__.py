"""The gateway: HTTP requests to endpoints become inputs of their functions."""
