"""Many runs as jobs: a queue, and what it starts them with, processes of this machine or nodes of a cluster."""
