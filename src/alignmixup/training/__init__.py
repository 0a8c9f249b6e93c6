"""Training: configuration, the loop, checkpoints, records. Nothing is imported here."""
