"""Suites, plans, engines, fixtures, provenance and the command line. May import tasks, db and reports."""
