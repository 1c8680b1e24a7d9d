"""From camera to frame: sources, the capture process, image health, the motion gate."""
