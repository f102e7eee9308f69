"""Draw the chart: ``python -m bitlathe.reports.studies.formats_iso_area FOLDER PICTURE.png``."""

from ..drawing import main
from .chart import CHART

if __name__ == "__main__":
    main("formats_iso_area", CHART)
