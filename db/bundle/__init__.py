"""Bundles: a ledger (or several, merged) as a folder of Parquet files with a manifest that holds the hash of each.

`export_bundle` streams a consistent snapshot, `import_bundle` merges one into a ledger, `verify_bundle` recomputes hashes and leaderboards
from the bundle alone. Any tool that reads Parquet reads a bundle: `measurements.attempt_id` joins `attempts.attempt_id`, `metric_id` joins
`metrics`.
"""

from db.bundle.exporting import export_bundle
from db.bundle.importing import Imported, import_bundle
from db.bundle.verifying import Verified, verify_bundle

__all__ = ["Imported", "Verified", "export_bundle", "import_bundle", "verify_bundle"]
