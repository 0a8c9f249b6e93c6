"""``alignmixup evaluate``: the command, its options, table and figures."""
