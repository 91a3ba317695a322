"""The leaderboard: ranks, improvement and performance profiles from result files and task specs alone."""
