"""Agents that cannot overspend."""
