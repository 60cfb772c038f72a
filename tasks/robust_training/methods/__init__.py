"""Training methods of the family robust_training: one file each."""
