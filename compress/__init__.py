"""The workshop: images and a goal in, one signed bundle out.

Read `build.py` first; it is the product in one page. A detector (`detectors/`) is fitted to good images, techniques
(`techniques/`) make it small, `tflite/` writes the second file with the first one's integers, and what comes out is
measured with the runtime's own code, so that the figures are those of the device's program.
"""
