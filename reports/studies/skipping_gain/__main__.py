"""Run the study: ``python -m bitlathe.reports.studies.skipping_gain [LANES]``."""

from .study import main

if __name__ == "__main__":
    main()
