"""Common corruptions: one file a family, their strengths, and the error under them."""
