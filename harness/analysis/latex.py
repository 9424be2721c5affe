"""Tables as LaTeX with booktabs, to be pasted or `\\input` into a paper. The text is that of the Markdown file.

Owns escaping and layout; computes nothing. The same tables give the same bytes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable

from harness.analysis.tables import Table

HOW_TO = """\
% Paste this into a paper, or write \\input{table}. The preamble needs
%   \\usepackage{booktabs,graphicx}
% A table wider than the text is shrunk to its width; any other keeps its size."""

_SIGNS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    '"': "''",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    "—": "---",
    "×": r"$\times$",
    "÷": r"$\div$",
    "√": r"$\surd$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≠": r"$\neq$",
    "≈": r"$\approx$",
    "→": r"$\rightarrow$",
    "∞": r"$\infty$",
    "²": "$^2$",
    "°": r"$^\circ$",
    "µ": r"$\mu$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "γ": r"$\gamma$",
    "λ": r"$\lambda$",
    "μ": r"$\mu$",
    "σ": r"$\sigma$",
    "τ": r"$\tau$",
    "…": r"\ldots{}",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
} | {sign: f"\\{sign}" for sign in "&%$#_"}
_SIGNED = re.compile(r"(?<![\w.,$])([+-]\d[\d,]*(?:\.\d+)?)")
_LATIN = range(0xA0, 0x250)  # letters that pdflatex sets from UTF-8 as they are


def fragment(title: str, tables: Iterable[Table], name: str) -> str:
    """All tables of a suite, each a float with its title for a caption and its notes as comments below.

    Args:
        name: of the suite, from which labels are made: `\\ref{tab:NAME-1}`.
    """
    parts = [f"% {_comment(title)}\n{HOW_TO}"]
    for place, table in enumerate(tables, 1):
        parts.append(_float(table, f"tab:{re.sub('[^A-Za-z0-9-]+', '-', name)}-{place}"))
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """The text on one line, with nothing that LaTeX would take for a command; a sign that pdflatex cannot set becomes
    its nearest ASCII letters, or `?`."""
    return "".join(map(_sign, " ".join(text.split())))


def _float(table: Table, label: str) -> str:
    columns = "l" * table.labels + "r" * (len(table.header) - table.labels)
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{escaped(table.title)}.{_reading(table)}}}",
        rf"  \label{{{label}}}",
        r"  \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"  \begin{{tabular}}{{@{{}}{columns}@{{}}}}",
        r"    \toprule",
        f"    {_row(table.header)}",
        r"    \midrule",
        *(f"    {_row(row, {at for line, at in table.bold if line == place})}" for place, row in enumerate(table.rows)),
        r"    \bottomrule",
        r"  \end{tabular}}",
        r"\end{table}",
    ]
    for note in table.notes:
        lines += [f"% {_comment(note.heading)}", *(f"%   {_comment(line)}" for line in note.lines)]
    return "\n".join(lines)


def _reading(table: Table) -> str:
    """The sentence that says what the entries are."""
    said = [line for note in table.notes for line in note.lines if line.startswith("Entries are")]
    return "".join(f" {_text(line)}" for line in said[:1])


def _row(texts: Iterable[str], bold: Collection[int] = ()) -> str:
    shown = [rf"\textbf{{{_text(text)}}}" if at in bold else _text(text) for at, text in enumerate(texts)]
    return " & ".join(shown) + r" \\"


def _text(text: str) -> str:
    """Escaped, and with the signs of numbers set as such."""
    return _SIGNED.sub(r"$\1$", escaped(text))


def _sign(sign: str) -> str:
    if sign in _SIGNS:
        return _SIGNS[sign]
    if sign.isascii() or (ord(sign) in _LATIN and sign.isalpha()):
        return sign
    plain = unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode()
    return "".join(_SIGNS.get(letter, letter) for letter in plain) or "?"


def _comment(text: str) -> str:
    return " ".join(text.split())
