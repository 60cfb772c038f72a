"""Numerical cores with plain references beside fast paths. Imports no other room."""
