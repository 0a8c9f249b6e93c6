"""Several methods over several seeds: doing it, the runs of before that stay, and what the records say."""
