"""Figures. Each ``draw_...`` writes one to ``path`` (see `save.drawing`), with ``title`` above. Nothing is imported
here.
"""
