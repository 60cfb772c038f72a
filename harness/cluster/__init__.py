"""Suites on a Ray cluster that is reached only through its dashboard: submission, following, cancelling, fetching results.

`client` talks to the dashboard, `upload` packs code, suite and plugins, `remote` calls functions on the head node as short Ray jobs,
`job` is what runs there, and `pull` brings a ledger home.
"""
