"""Entropic optimal transport: costs, plans and who computes them."""
