"""MixNAM, reproduced and usable: the model, its rivals, data, training, explanations, claims."""

__version__ = "0.5.0"
