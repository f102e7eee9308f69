"""Studies, one folder each: a sweep file or a program, its text, its chart."""
