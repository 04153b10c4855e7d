"""Landmarks to clips a model can learn from: recipes, splits, augmentation, batches."""
