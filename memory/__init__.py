"""Transcript, window and summaries."""
