"""Boards as tables, files and pictures."""
