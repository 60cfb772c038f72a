"""A leaderboard over a hidden split that can't be climbed by looking: the Ladder, Thresholdout, budgets and a log of queries (paper 213).

The hidden labels and the losses made from them live in a store of their own that only the scorer opens; the ledger and the reports hold
what was shown.
"""

#: Submissions to a board by everybody together, by one submitter, and answers that may come from its hidden rows, by default.
BUDGET, SHARE, QUESTIONS = 100, 20, 20
