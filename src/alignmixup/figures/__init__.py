"""Figures, one a file: from records, never from models in memory. Drawing one imports matplotlib."""
