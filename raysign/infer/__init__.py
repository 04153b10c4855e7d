"""From a bundle to answers: one predictor for evaluation and prediction."""
