"""What was stored before: an evaluation that answers or grows, score maps of anybody's network."""
