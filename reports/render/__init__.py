"""Renderers: each turns a `reports.document.Document` into one format and knows nothing else."""
