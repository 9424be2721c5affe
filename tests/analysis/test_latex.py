"""Tables as LaTeX: escaped whatever a label holds, the same numbers as the table, and it compiles."""

import re
import shutil
import subprocess

import pytest

from harness.analysis.latex import escaped, fragment
from harness.analysis.notes import Note
from harness.analysis.tables import Table

HARD = Table(
    title="50 % of_it & {all} ~^ \\end{table} #1 $x$ <a|b> \u201cq\u201d \u03c3\u2265\u221a2 \u5b57 \u00e9 \u0141",
    header=("method", "top-1 %", "minus w_mse"),
    rows=(("w_mse", "94.17 \u00b1 2.75", "\u2013"), ("b\\yol [d=2]", "80.83 \u00b1 5.50, collapsed", "-13.34")),
    labels=1,
    notes=(Note("How to read it", ("Entries are mean \u00b1 sample sd.", "two\nlines")),),
    bold=frozenset({(0, 1)}),
)
DOCUMENT = r"\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}\input{table}\end{document}"


def test_every_sign_that_is_special_is_escaped():
    assert escaped("a_b & 5 % of #1 {x} $y$") == r"a\_b \& 5 \% of \#1 \{x\} \$y\$"
    assert escaped("\\ ~ ^") == r"\textbackslash{} \textasciitilde{} \textasciicircum{}"
    assert escaped("two\nlines") == "two lines"
    assert escaped("\u00e9 \u5b57 \u216b") == "\u00e9 ? XII"  # set as it is; no such letter; written out


def test_rows_alignment_bold_and_signs():
    text = fragment("T", [HARD], "my suite")
    assert r"\begin{tabular}{@{}lrr@{}}" in text
    assert r"    w\_mse & \textbf{94.17 $\pm$ 2.75} & -- \\" in text
    assert r"80.83 $\pm$ 5.50, collapsed & $-13.34$ \\" in text
    assert r"\label{tab:my-suite-1}" in text
    assert "Entries are mean $\\pm$ sample sd.}" in text  # in the caption


def test_notes_are_comments_below():
    after = fragment("T", [HARD], "s").partition(r"\end{table}" + "\n")[2]
    assert after.splitlines() == [
        "% How to read it",
        "%   Entries are mean \u00b1 sample sd.",
        "%   two lines",
    ]


def test_no_table_is_still_a_file_that_may_be_read_in():
    assert all(line.startswith("%") for line in fragment("a\nb", [], "s").splitlines())


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed: nothing here can compile LaTeX")
def test_it_compiles_and_says_what_the_table_says(tmp_path):
    (tmp_path / "table.tex").write_text(fragment(HARD.title, [HARD, HARD], "s"), encoding="utf-8")
    (tmp_path / "paper.tex").write_text(DOCUMENT)
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        errors="replace",
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "1 page" in done.stdout
    assert "Missing character" not in (tmp_path / "paper.log").read_text(errors="replace")
    if shutil.which("pdftotext"):
        text = subprocess.run(["pdftotext", "-layout", "paper.pdf", "-"], cwd=tmp_path, capture_output=True).stdout
        words = re.sub(r"\s+", " ", text.decode())
        assert "94.17 \u00b1 2.75" in words
        assert "\u221213.34" in words
