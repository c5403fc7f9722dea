"""Report of a study: its trials compared in one page, pictures and tables, from plain data."""

from tune.report.report_files import calibration_picture, write_report
from tune.report.scales import searched
from tune.report.study_remarks import at_edge, baselines_of, remarks
from tune.report.summary import Spread, failed, failures, sparkline, stops

__all__ = [
    "Spread",
    "at_edge",
    "baselines_of",
    "calibration_picture",
    "failed",
    "failures",
    "remarks",
    "searched",
    "sparkline",
    "stops",
    "write_report",
]
