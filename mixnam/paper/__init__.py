"""What the paper did and said: presets, printed numbers, experiments, claims and their verdicts."""
