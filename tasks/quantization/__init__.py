"""Quantization: fewer bits per weight at the least loss. The protocol is in `protocol.py`, one method per file in `methods/`."""
