"""``alignmixup compare``: the command, its live board and its table."""
