"""Statistics, leaderboards, verdicts and their renderers. May import `db` only."""
