"""One policy per file: the readable reference, and the name of the compiled kernel that takes the same decisions."""
