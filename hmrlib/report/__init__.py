"""Notebooks in, report out.

In a notebook, `save_figure`, `save_number` and `save_table` hand a result to the report by name.
`hmr report` runs the notebooks (`execute`), gathers what they saved (`collect`) and sets the
documents' texts around it (`build`):

    notebooks/01_NAME.ipynb, params/fast.yml  ->  build/report/fast/01_NAME/
    build/report/fast/*/                      ->  figures/*.png, figures/manifest.json,
                                                  report/numbers.json, report/tables.json
    report/{report,atlas,slides}.md and those ->  report/report.html, report.pdf, atlas.html, ...
    the open body                             ->  report/play.html, a page with a live viewer

A notebook's folder in build/ appears, complete, when the notebook has finished; the next run skips
the notebook while nothing that it depends on has changed. One that fails is kept as NAME.failed/;
the others run all the same, and the report says what is missing.
"""

from hmrlib.report.build import DOCUMENTS, Document, build, fill
from hmrlib.report.figures import format_number, save_figure, save_number, save_table, within
from hmrlib.report.run import (
    NotebookError,
    declared_parameters,
    execute,
    load_parameters,
    photograph,
    run,
)
from hmrlib.report.store import BROWSER, ReportError, collect

__all__ = [
    "BROWSER",
    "DOCUMENTS",
    "Document",
    "NotebookError",
    "ReportError",
    "build",
    "collect",
    "declared_parameters",
    "execute",
    "fill",
    "format_number",
    "load_parameters",
    "photograph",
    "run",
    "save_figure",
    "save_number",
    "save_table",
    "within",
]
