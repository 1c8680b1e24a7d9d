"""The capture process, which reads a camera for the daemon.

    camera -> grab -> decode -> a slot in shared memory -> one line to the daemon

A driver that hangs, or a decoder that crashes, affects this process only; the daemon kills it and starts another one.
Picamera2 is installed for the system's Python only, so the process then runs under that interpreter. Therefore this
folder needs only the standard library, NumPy and the camera's library.
"""

DECODER_MEMORY = 512 << 20
"""Bytes of address space that a process may add for decoding, beside those for each pixel."""
DECODER_MEMORY_PER_PIXEL = 24
"""16 frames of video at 1.5 bytes a pixel, which H.264 allows to be kept."""
