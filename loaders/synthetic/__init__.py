"""Synthetic twins: tiny raw distributions in the official layouts, made up with a signal that can be learnt."""
