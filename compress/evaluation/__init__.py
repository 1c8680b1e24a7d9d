"""How good the built models are on held-out images, and where the decision threshold lies."""
