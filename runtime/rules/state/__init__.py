"""What rules remember between frames: tracks, open events, the background."""
