"""The ledger: the SQL store of every trial, attempt and measurement. Imports no other room."""
