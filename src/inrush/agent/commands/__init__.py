"""Commands that people run in containers, and the streams that join them."""
