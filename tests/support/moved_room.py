"""A room with something private in it, before a camera that is moved."""

from __future__ import annotations

import cv2
import numpy as np
from camera import scene

from vedette.runtime.camera.capture.privacy_mask import PrivacyMask, rasterize_zones
from vedette.runtime.camera.view_matcher import shrink

ZONES = (((0.3, 0.3), (0.55, 0.3), (0.55, 0.6), (0.3, 0.6)),)
HEIGHT, WIDTH = 240, 320
ZONE = rasterize_zones(ZONES, HEIGHT, WIDTH)
PRIVATE = cv2.erode(ZONE.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0  # JPEG spreads its color by some pixels
MAGENTA = (255, 0, 255)
FAR = np.float32([[1, 0, 150], [0, 1, 60]])
NEAR = np.float32([[1, 0, 12], [0, 1, -8]])


def turned(angle, scale=1.0):
    return cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), angle, scale).astype(np.float32)


def view(number=0, move=None, seed=0):
    """What a moved camera shows of a room in which all that is private, and nothing else, is magenta."""
    pixels = scene(number, seed)
    pixels[PRIVATE] = MAGENTA
    if move is None:
        return pixels
    return cv2.warpAffine(pixels, move, (WIDTH, HEIGHT), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT)


def shows_private(pixels, tolerance=0):
    """Whether a picture shows something magenta; compressed ones need a tolerance."""
    blue, green, red = np.moveaxis(np.asarray(pixels, int), 2, 0)
    return bool(((blue >= 255 - tolerance) & (red >= 255 - tolerance) & (green <= tolerance)).any())


def to_gray(pixels):
    return shrink(PrivacyMask(ZONES)(pixels.copy()))
