"""A trained network taken out of the tool: as a graph in one file, and as a folder for a model hub."""
