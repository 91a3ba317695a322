"""Networks: each file one space, which builds a module from an architecture."""
