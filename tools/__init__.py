"""Tools: what a step may call, and how it is run."""
