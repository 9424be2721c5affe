"""One directory a cell: atomic writes, locks, provenance."""
