"""Ways to execute calls: inline, in processes, on Ray. One protocol (`harness.engines.base`)."""
