"""``alignmixup export``."""
