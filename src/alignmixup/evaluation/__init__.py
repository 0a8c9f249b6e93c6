"""Evaluation: functions on tensors plus one loop each. Nothing is imported here."""
