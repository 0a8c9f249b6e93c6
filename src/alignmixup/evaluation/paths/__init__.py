"""What a network says between two examples."""
