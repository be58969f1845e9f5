"""The table of what moves a boosted model, and how far."""
