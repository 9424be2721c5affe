"""The command line: one short module a verb; parses, calls, prints; no logic."""
