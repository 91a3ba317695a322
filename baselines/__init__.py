"""Baselines: METHODS, each a search space, an algorithm and a recipe."""
