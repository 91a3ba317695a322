"""What is wrong with result files: everything at once, each fault with a code, a place, a rule and a fix."""
