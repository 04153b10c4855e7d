"""From a bundle to answers: one predictor for evaluation, prediction and serving."""
