"""The page of costs: served on loopback, or written as one file."""
