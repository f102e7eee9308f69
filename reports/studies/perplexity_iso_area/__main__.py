"""Draw the chart: ``python -m bitlathe.reports.studies.perplexity_iso_area FOLDER PICTURE.png``."""

from ..drawing import main
from .chart import CHART

if __name__ == "__main__":
    main("perplexity_iso_area", CHART)
