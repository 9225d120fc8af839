"""scikit-learn estimators over the rooms below, and what they say of a model."""
