"""Print and draw it: ``python -m bitlathe.reports.studies.model_costs FOLDER PICTURE.png``."""

from ...explore import read_results
from ...terminal import print_table
from ..drawing import main
from .study import CHART, tables

if __name__ == "__main__":
    import sys

    main("model_costs", CHART)
    for title, rows in tables(list(read_results(sys.argv[1]))).items():
        print_table(rows, title=title)
