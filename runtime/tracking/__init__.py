"""Tracking: the detections of consecutive frames, joined into tracks."""
