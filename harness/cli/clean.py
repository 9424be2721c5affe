"""`harness clean`: free the disk of what a store can do without."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.session import data_option, friendly, open_session, open_store, results_option

if TYPE_CHECKING:
    from harness.store.clean import Kind, Selection

_MIB = 2**20
_MEANING: dict[Kind, str] = {
    "encoders": "numbers stay; a question asked later trains again",
    "checkpoints": "what was interrupted starts over",
    "stale": "of older code; the next run makes them anew",
    "old versions": "of older versions of this harness, and read no more",
}


@click.command()
@click.argument("suite", required=False, type=click.Path(path_type=Path))
@click.option("--encoders", is_flag=True, help="Remove stored encoders and heads.")
@click.option("--checkpoints", is_flag=True, help="Remove checkpoints of interrupted training runs.")
@click.option("--stale", is_flag=True, help="Remove pretrainings and evaluations whose code has changed since.")
@click.option(
    "--old-versions", is_flag=True, help="Remove results of older versions; `harness migrate` first saves what it can."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--preset", default=None, metavar="NAME", help="A preset of the suite.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set a field of every cell of the suite; repeatable."
)
@results_option
@data_option
@friendly
def command(
    suite: Path | None,
    encoders: bool,
    checkpoints: bool,
    stale: bool,
    old_versions: bool,
    yes: bool,
    preset: str | None,
    settings: tuple[str, ...],
    results: Path,
    data_dir: str | None,
) -> None:
    """Free the disk of what is not needed, of all results or only of one suite's.

    Without a choice of what, say what could be freed and how. What a running process works on is never touched.
    """
    from harness.store.clean import KINDS, find, remove
    from harness.store.provenance import Code

    if suite is None and (preset or settings):
        raise click.UsageError("--preset and --set belong to a suite, and none is given")
    if suite is not None and old_versions:
        raise click.UsageError(
            "results of older versions belong to no suite as it is now; give --old-versions without one"
        )
    chosen: tuple[Kind, ...] = tuple(
        kind for kind, chosen in zip(KINDS, (encoders, checkpoints, stale, old_versions), strict=True) if chosen
    )
    store = open_store(results)
    if suite is None:
        code, ids = Code.read(), None
    else:
        session = open_session(suite, preset, settings, results, data_dir)
        code, ids = session.code, {placed.cell.pretraining.id for placed in session.expansion.planned}
    if not chosen:
        for kind in KINDS if suite is None else KINDS[:-1]:
            _say(find(store, [kind], code, ids), kind)
            click.echo(f"    --{kind.replace(' ', '-'):<16} {_MEANING[kind]}")
        click.echo("Nothing was removed; choose what is to go, and give several options to remove several kinds.")
        return
    selection = find(store, chosen, code, ids)
    for kind in chosen:
        _say(selection, kind)
    for id_, reason in selection.unknown.items():
        click.echo(f"left: {id_}: {reason}; if it comes from a file of your own, name the suite that says so")
    for id_ in selection.running:
        click.echo(f"left: {id_}: a running process works on it")
    if not selection.removable:
        click.echo("Nothing to remove.")
        return
    if not yes:
        size = _mib(sum(part.size_bytes for part in selection.removable))
        click.confirm(f"Remove them, {size} in all?", abort=True)
    cleaned = remove(store, selection, chosen, code)
    for id_ in cleaned.running:
        click.echo(f"left: {id_}: a running process works on it by now")
    click.echo(f"{_mib(cleaned.freed_bytes)} freed.")


def _say(selection: Selection, kind: Kind) -> None:
    """One line: how many, and how much."""
    size = _mib(sum(part.size_bytes for part in selection.of(kind)))
    click.echo(f"{kind:<12} {_count(selection, kind):>24} {size:>14}")


def _count(selection: Selection, kind: Kind) -> str:
    parts = selection.of(kind)
    if kind != "stale":
        return str(len(parts))
    whole = sum(not part.files for part in parts)
    return f"{whole} + {len(parts) - whole} evaluations" if len(parts) > whole else str(whole)


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / _MIB:,.1f} MiB"
