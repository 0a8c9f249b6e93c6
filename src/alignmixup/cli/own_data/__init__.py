"""One's own folder of images: what is odd in it, and the configuration that fits it."""
