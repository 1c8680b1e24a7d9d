"""The same thing over time: detections of one frame after another, joined into tracks."""
