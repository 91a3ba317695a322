"""The leaderboard as one HTML file that needs nothing else: no network, no server, no build."""

from __future__ import annotations

from nas360.leaderboard.page.assemble import page

__all__ = ["page"]
