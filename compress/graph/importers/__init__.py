"""Networks that were not made here, prepared so that both integer files can compute the same.

reading     the user's file or module becomes one plain float ONNX graph of one image
lowering    operators that the two libraries round differently are said as convolutions, which they do not
ranges      tensors that must have one scale get one, and functions get scales at which nothing lies on the fence
"""
