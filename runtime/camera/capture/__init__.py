"""The process that reads a camera.

    camera -> grab -> decode -> a slot in shared memory -> one line to the daemon

A driver that never returns and a decoder that crashes take only this process with them; the daemon kills what is stuck
and starts the next. It runs under the system's own Python where a camera's library lives only there (Picamera2), so
nothing in this folder needs more than the standard library, NumPy and what the camera itself needs.
"""
