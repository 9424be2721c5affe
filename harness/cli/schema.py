"""`harness schema`: by which editors complete and check suite files."""

from __future__ import annotations

import json
from pathlib import Path

import click

from harness.cli.session import extension_options


@click.command()
@click.argument("path", default=Path("suites/schema.json"), type=click.Path(path_type=Path, dir_okay=False))
@extension_options
def command(path: Path) -> None:
    """Write the JSON schema of suites to PATH (default: suites/schema.json).

    A suite that begins with `# yaml-language-server: $schema=schema.json` is completed and checked by editors that
    speak YAML.
    """
    from harness.registry import all_datasets, all_methods, all_probes
    from harness.store.atomic import write_text
    from harness.suite.facts import Catalogue
    from harness.suite.schema import json_schema

    known = Catalogue(all_methods(), all_probes(), all_datasets())
    write_text(path, json.dumps(json_schema(known), indent=1) + "\n")
    click.echo(f"written: {path}")
