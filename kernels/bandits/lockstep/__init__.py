"""Many seeds in lockstep on torch tensors: the differential oracle of the compiled kernels, and the path for GPUs.

Every step is one batch of tensor operations over all seeds, which pays on a GPU and from thousands of seeds on. Random numbers, ties
and rules are those of `kernels.bandits`, so a policy takes the same decisions here and there.
"""
