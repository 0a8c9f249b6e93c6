"""The data sets: how each one lies on disk."""
