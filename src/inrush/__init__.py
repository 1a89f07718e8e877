"""inrush."""
