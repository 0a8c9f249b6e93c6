"""Training the autoencoder of StyleMix and StyleCutMix."""
