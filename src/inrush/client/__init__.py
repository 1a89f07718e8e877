"""The SDK: what a user's program imports. Public names are in `inrush` itself."""
