"""What the ranks of a board are worth: intervals, tie groups, tests, stability, cost."""
