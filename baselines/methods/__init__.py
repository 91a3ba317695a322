"""Methods: each file composes a space, an algorithm and a recipe."""
