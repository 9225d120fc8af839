"""Estimators of scikit-learn: MixNAM and NAM for regressions and classifications, with what they explain."""
