"""Models and tiers."""
