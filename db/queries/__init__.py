"""Saved queries, one SELECT per file (package data)."""
