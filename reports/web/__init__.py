"""`assay serve`: the report live from the ledger, run status, read-only SQL. Needs the extra `serve` (starlette, uvicorn)."""
