"""Print and draw the study: ``python -m bitlathe.reports.studies.mappers FOLDER PICTURE.png``."""

from ...explore import read_results
from ...terminal import print_table
from ..drawing import main
from .study import CHART, by_phase, of_the_search

if __name__ == "__main__":
    import sys

    main("mappers", CHART)
    rows = list(read_results(sys.argv[1]))
    print_table(by_phase(rows), title="What the other chips take over BitMoD, by mapper")
    print_table(of_the_search(rows), title="What the rule takes over the search, by chip")
