"""Run the study: ``python -m bitlathe.reports.studies.forty_schemes [PICTURE.png]``."""

from .study import main

if __name__ == "__main__":
    main()
