"""Run the study: ``python -m bitlathe.reports.studies.term_skipping FOLDER PICTURE.png``."""

from .study import main

if __name__ == "__main__":
    main()
