"""Weakly supervised localisation: score maps, boxes, accuracies and protocols."""
