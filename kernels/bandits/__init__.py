"""Compiled bandit simulations: one call plays every round of one seed, environment included.

A bandit step is tens to thousands of flops, so the interpreter, not the arithmetic, decides the speed. Modules: `draws` (counter-based
random numbers), `linalg` (rank-one algebra), then one module per environment with the kernels that play in it. `kernels.compiling` has the
decorator and says where machine code is cached. Importing this package compiles nothing and does not import numba.
"""
