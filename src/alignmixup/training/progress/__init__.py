"""What a training shows and keeps while it runs: bars, lines, the log of epochs, trackers."""
