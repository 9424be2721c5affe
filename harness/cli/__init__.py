"""The command line: one short module a verb, imported when the verb is used, so that `harness --help` is quick."""

from __future__ import annotations

import difflib
import importlib
import sys

import click

from harness.openmp import spin_briefly

VERBS = {
    "run": "Run a suite's cells that are not done, then write its tables.",
    "plan": "What would run, what is done, what cannot run and why.",
    "status": "The state of every cell of a suite.",
    "watch": "A live view of a run in another process or on a cluster.",
    "sweep": "Search every method's settings at the same budget; the winners become a suite.",
    "table": "Write a suite's tables and figures from what is stored, and show them.",
    "report": "Write a suite's results as one self-contained HTML page.",
    "compare": "What changed between two results directories, or two commits.",
    "show": "Everything stored about one cell.",
    "list": "Methods, probes, datasets, backbones, loggers or suites.",
    "data": "List, prepare and verify datasets.",
    "migrate": "Bring results of an older version of the harness forward.",
    "clean": "Free the disk of encoders, checkpoints, stale or old results.",
    "schema": "Write the JSON schema by which editors complete suite files.",
}


class Verbs(click.Group):
    """Loads `harness.cli.<verb>.command` when asked for it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = importlib.import_module(f"harness.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], VERBS, n=1)
            ctx.fail(f"no command `{args[0]}`" + (f"; did you mean `{near[0]}`?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ssl-harness", prog_name="harness")
def cli() -> None:
    """Compare self-supervised objectives: which wins, by how much, at what cost, and why.

    A suite file says what to compare; `harness run suites/quickstart.yaml` trains what is missing and prints the table.
    """


def main() -> None:
    """The console script. Exit codes: 0 all done, 1 some cell failed, 2 bad suite or arguments, 130 interrupted."""
    spin_briefly()  # before torch is imported
    sys.exit(cli())
