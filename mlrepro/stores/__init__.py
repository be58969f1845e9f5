"""Stores: where code, runs and objects are kept; one doorkeeper for each."""
