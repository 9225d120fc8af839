"""Static pictures of what a model says."""
