"""Unstructured pruning: a method sets most weights of a trained network to zero and may adjust the rest, without training it again.

`protocol` says what a pruner receives and returns, `oneshot` is the task, `base_model` the network that is pruned, `claims` what papers
say; every file in `methods` is one pruner.
"""
