"""Both sides of an augmentation row yield the views they are counted for."""

from harness.bench.augmentation import SMALL, views_row
from harness.bench.timing import measure


def test_both_sides_count_views(machine):
    row = views_row("tiny", full=10, size=8, channels=3, batch=4, spec=SMALL, target=1e-6)
    ours = row.ours(machine)
    assert ours.turn() == 8.0
    assert ours.moved_bytes == 3 * (100 + 4 * 64)
    ours.close()
    plain = row.conventional(machine)
    try:
        assert plain.turn() == 8.0
    finally:
        plain.close()


def test_the_row_is_measured(machine):
    found = measure(views_row("tiny", 10, 8, 1, 4, SMALL, target=1e-6), machine, 0.05)
    assert found.reason == ""
    assert found.met is True
    assert found.limit == "bandwidth"
