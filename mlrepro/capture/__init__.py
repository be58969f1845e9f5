"""Capture: what a run reads and what it decides."""
