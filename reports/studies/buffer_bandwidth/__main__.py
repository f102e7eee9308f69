"""Draw the chart: ``python -m bitlathe.reports.studies.buffer_bandwidth FOLDER PICTURE.png``."""

from ..drawing import main
from .chart import CHART

if __name__ == "__main__":
    main("buffer_bandwidth", CHART)
