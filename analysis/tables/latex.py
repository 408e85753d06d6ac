"""Tables as LaTeX (booktabs), and a document that shows them and the figures and compiles by itself.

What is wider than a page is split by columns, what is longer by rows: the parts are floats of the same number. A table
needs the packages ``PACKAGES``, all of which a basic TeX installation has.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from analysis.tables.latex_layout import Column, Group, columns_of, pages, panels
from analysis.tables.latex_text import escape
from harness.pages.contents import Marked, PageFigure, PageTable, Text

PACKAGES = ("array", "booktabs", "caption", "graphicx")
_NOTE_WIDTH = 120
_FLOATS_AT_ONCE = 24


def table(table: PageTable) -> str:
    """A table as one or several floats of one number; every text in it is escaped.

    The label is ``tab:`` and the table's name. Empty if the table is.
    """
    if table.empty:
        return ""
    columns = columns_of(table)
    beside = panels(columns)
    rows_of_pages = pages(table, columns, len(beside), math.ceil(len(table.note) / _NOTE_WIDTH))
    parts = [(chosen, rows) for rows in rows_of_pages for chosen in beside]
    comment = f"% Packages: {', '.join(PACKAGES)}; font encoding T1.\n"
    return comment + "\n".join(
        _float(table, [columns[place] for place in chosen], chosen, rows, number == 0, number == len(parts) - 1)
        for number, (chosen, rows) in enumerate(parts)
    )


def document(tables: Sequence[PageTable], figures: Sequence[PageFigure], title: str, paragraphs: Sequence[str]) -> str:
    """A whole LaTeX document: title, paragraphs, the figures that have a PDF, the tables.

    It compiles with pdflatex where the figures lie as ``STEM.pdf`` beside it or in a folder ``figures`` beside or
    above it. Empty tables are left out.

    Args:
        tables: in their order.
        figures: in their order.
        title: plain text, like everything else.
        paragraphs: one text each.
    """
    shown = [_figure(figure) for figure in figures if figure.pdf]
    floats = [*shown, *(table(one) for one in tables if not one.empty)]
    body = [rf"\begin{{center}}\Large\bfseries {escape(title)}\end{{center}}", *map(escape, paragraphs)]
    waiting = 0
    for text in floats:
        body.append(text)
        waiting += text.count(r"\end{table}") + text.count(r"\end{figure}")
        if waiting >= _FLOATS_AT_ONCE:
            # LaTeX can keep only so many floats waiting for a place.
            body.append(r"\clearpage")
            waiting = 0
    return _PREAMBLE + "\n\n".join(body) + "\n\n\\end{document}\n"


_PREAMBLE = (
    r"""\documentclass[10pt,a4paper]{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{textcomp}
\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}
\usepackage[margin=22mm]{geometry}
"""
    + "".join(rf"\usepackage{{{name}}}" + "\n" for name in PACKAGES)
    + r"""\captionsetup{font=small,labelfont=bf,justification=raggedright,singlelinecheck=false,skip=4pt}
\graphicspath{{./}{figures/}{../figures/}}
\setlength{\parindent}{0pt}\setlength{\parskip}{6pt plus 2pt}
\setlength{\emergencystretch}{3em}
\renewcommand{\topfraction}{0.95}\renewcommand{\bottomfraction}{0.95}
\renewcommand{\textfraction}{0.02}\renewcommand{\floatpagefraction}{0.7}
\newsavebox{\drawing}
\newcommand{\fitted}[1]{%
  \sbox{\drawing}{\includegraphics{#1}}%
  \ifdim\wd\drawing>\linewidth\sbox{\drawing}{\resizebox{\linewidth}{!}{\usebox{\drawing}}}\fi
  \ifdim\ht\drawing>0.8\textheight\sbox{\drawing}{\resizebox{!}{0.8\textheight}{\usebox{\drawing}}}\fi
  \usebox{\drawing}}
\begin{document}
"""
)


def _figure(figure: PageFigure) -> str:
    return "\n".join(
        (
            r"\begin{figure}[!htbp]",
            r"\centering",
            rf"\fitted{{\detokenize{{{figure.stem}.pdf}}}}",
            rf"\caption{{{escape(figure.caption)}}}",
            rf"\label{{fig:{_label(figure.stem)}}}",
            r"\end{figure}",
        )
    )


def _label(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9-]+", "-", name)


def _float(
    table: PageTable, columns: Sequence[Column], chosen: Sequence[int], groups: Sequence[Group], first: bool, last: bool
) -> str:
    caption = escape(table.caption)
    label = rf"\label{{tab:{_label(table.name)}}}" if table.name else ""
    lines = [
        r"\begin{table}[!htbp]",
        *([] if first else [r"\ContinuedFloat"]),
        r"\centering",
        rf"\caption{{{caption}}}{label}" if first else rf"\caption[]{{{caption} (continued)}}",
        r"\footnotesize",
        r"\setlength{\tabcolsep}{4pt}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{@{{}}{''.join(column.preamble for column in columns)}@{{}}}}",
        r"\toprule",
        *_head(columns),
    ]
    for heading, rows in groups:
        lines.append(r"\midrule")
        if heading:
            lines.append(rf"\multicolumn{{{len(columns)}}}{{@{{}}l}}{{\textit{{{escape(heading)}}}}} \\")
        for row in rows:
            lines += _row([row[place] for place in chosen], columns)
    lines += [r"\bottomrule", r"\end{tabular}}"]
    if last and table.note:
        lines.append(rf"\par\smallskip\begin{{minipage}}{{\linewidth}}\scriptsize {escape(table.note)}\end{{minipage}}")
    return "\n".join([*lines, r"\end{table}", ""])


def _head(columns: Sequence[Column]) -> Iterator[str]:
    height = max(len(column.head) for column in columns)
    for line in range(height):
        texts = [column.head[line - height] if line >= height - len(column.head) else "" for column in columns]
        # A head is never set as a paragraph: it was wrapped already.
        yield (
            " & ".join(
                rf"\multicolumn{{1}}{{{_place(place, len(columns), column.align)}}}{{{escape(text)}}}"
                if column.paragraph and text
                else escape(text)
                for place, (text, column) in enumerate(zip(texts, columns, strict=True))
            )
            + r" \\"
        )


def _place(place: int, count: int, letter: str) -> str:
    """The alignment of one cell with the table's missing outer space."""
    return f"{'@{}' if place == 0 else ''}{letter}{'@{}' if place == count - 1 else ''}"


def _row(cells: Sequence[Text], columns: Sequence[Column]) -> Iterator[str]:
    """A row as so many lines of the tabular as its tallest cell has; marks are for the first line."""
    texts = [
        [str(cell)] if column.paragraph else str(cell).split("\n") for cell, column in zip(cells, columns, strict=True)
    ]
    height = max(map(len, texts))
    for line in range(height):
        shown = [escape(own[line]) if line < len(own) else "" for own in texts]
        if line == 0:
            shown = [_marked(cell, text) for cell, text in zip(cells, shown, strict=True)]
        # An underlined first line needs room below it.
        space = "" if height == 1 else "[5pt]" if line == height - 1 else "[1pt]"
        yield " & ".join(shown) + r" \\" + space


def _marked(cell: Text, text: str) -> str:
    if not isinstance(cell, Marked) or not text:
        return text
    if cell.underline:
        text = rf"\underline{{{text}}}"
    return rf"\textbf{{\boldmath {text}}}" if cell.bold else text
