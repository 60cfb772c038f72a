"""Every error that the room `db` raises on purpose. Each text is one sentence that names the thing and the remedy."""


class LedgerError(Exception):
    """Base of the errors below."""


class LedgerUnavailable(LedgerError):
    """The database can't be reached or written now (missing, unwritable, locked beyond the time-out, full disk). Nothing was changed;
    the caller may spool and try again."""


class LedgerCorrupt(LedgerError):
    """The file is not a ledger or is damaged."""


class SchemaMismatch(LedgerError):
    """The ledger's schema is older or newer than this code; the text names the exact command that helps."""


class QueryRefused(LedgerError):
    """A query on the public SQL surface that is not read-only, took too long or is not valid SQL."""
