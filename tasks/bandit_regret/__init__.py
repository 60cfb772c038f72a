"""Bandits and online learning: policies compared by the regret that the environment counts.

`protocol` says what a policy is, `referee` plays one and catches rule breakers, `linear` (and its neighbours) are the tasks, `methods`
holds one policy per file, `claims` what papers say about them. Importing this package compiles nothing.
"""
