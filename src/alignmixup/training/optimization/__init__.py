"""What an update of the weights is: criteria, optimisers, the order of layers, the learning rate."""
