"""A run as a value: its folder, record and network, and what can be done with them."""
