"""Run the study: ``python -m bitlathe.reports.studies.pe_errors``."""

from .study import main

if __name__ == "__main__":
    main()
