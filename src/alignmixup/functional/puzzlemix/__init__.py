"""Puzzle Mix: mask, transport of blocks, and their solvers."""
