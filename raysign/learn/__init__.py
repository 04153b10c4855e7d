"""From clips to a bundle: heads and losses, the one training loop, and the doors to Ray Train and MLflow."""
