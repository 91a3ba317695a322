"""Entries: sent, stored, scored again, and locked."""
