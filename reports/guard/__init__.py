"""A leaderboard over a hidden split that can't be climbed by looking: the Ladder, Thresholdout, budgets and a log of queries (paper 213).

The hidden labels and the true scores live in a store of their own that only the scorer opens; the ledger and the reports never see them.
"""
