"""Draw the chart: ``python -m bitlathe.reports.studies.array_shape FOLDER PICTURE.png``."""

from ..drawing import main
from .chart import CHART

if __name__ == "__main__":
    main("array_shape", CHART)
