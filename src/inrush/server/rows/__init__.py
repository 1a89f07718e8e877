"""The database: its tables, and the group commit that writes them."""
