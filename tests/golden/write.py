"""Writes `ids.json` anew: python -m tests.golden.write. See `test_ids.py` for when that is right."""

from __future__ import annotations

import json

from tests.golden.cells import IDS, current_ids, moved, pinned_ids


def main() -> None:
    """Write the ids, and say which moved."""
    before = pinned_ids() if IDS.exists() else {}
    after = current_ids()
    IDS.write_text(json.dumps(after, indent=1) + "\n")
    print("\n".join(moved(before, after)) or "no id moved")


if __name__ == "__main__":
    main()
