"""ASHA as values that are asked and told: what to train next, from what has been seen; it trains nothing itself."""
