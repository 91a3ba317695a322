"""The leaderboard: ranks, improvement and performance profiles from result files and task specs alone."""

from __future__ import annotations

from nas360.leaderboard.board import Board, Standing, rank
from nas360.leaderboard.profiles import Profile, error_ratios, profiles
from nas360.leaderboard.ranks import mean_rank, median_rank, relative_improvement, task_ranks
from nas360.leaderboard.sources import load_files, load_panel
from nas360.leaderboard.stats.statistics import Statistics, analyse
from nas360.leaderboard.table import Table, build_table

__all__ = [
    "Board",
    "Profile",
    "Standing",
    "Statistics",
    "Table",
    "analyse",
    "build_table",
    "error_ratios",
    "load_files",
    "load_panel",
    "mean_rank",
    "median_rank",
    "profiles",
    "rank",
    "relative_improvement",
    "task_ranks",
]
