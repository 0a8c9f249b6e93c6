"""Pages and tables from the records of runs: text in, text out. Imports no torch and no matplotlib."""
