"""What a trained model says: shape functions, bounds and measures."""
