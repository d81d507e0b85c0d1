"""What was found as a list to work through: a CSV table of files and what to do with them."""

from __future__ import annotations

import csv
import io

from .check_report import CheckReport

COLUMNS = ("path", "finding", "detail", "what_to_do")
WHOLE_FOLDER = "."


def fix_list(report: CheckReport) -> str:
    """Return the findings as CSV, a row for each file: path, finding, detail, what_to_do.

    Paths are relative to the folder, with forward slashes; a finding on the folder as a whole has
    the path `.`. Notes, which ask for nothing, are left out.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for finding in report.findings:
        if finding.level == "note":
            continue
        rows = [
            (report.name(image), finding.advice_for(position))
            for position, image in enumerate(finding.images)
        ]
        for path, advice in rows or [(WHOLE_FOLDER, finding.advice)]:
            writer.writerow((path, finding.kind, finding.detail, advice))
    return text.getvalue()
