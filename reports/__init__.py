"""Tables, plots, HTML pages, reproductions of published studies, sweeps."""
