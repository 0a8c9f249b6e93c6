"""First contact with a GPU: one command that checks, measures and trains in minutes; see docs/performance.md."""
