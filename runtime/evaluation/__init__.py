"""Measurements on a device: accuracy, speed, bandwidth, and the verification of a bundle."""
