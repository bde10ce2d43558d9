"""Reads back what was shipped, and says what of each source is missing."""
