"""What mixing is said to do to a network: flatter classes, errors that are less sure, smoother decisions."""
