"""Engines: what carries a plan's tasks out."""
