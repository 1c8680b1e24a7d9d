"""Import of networks that the user brings: any float classifier, embedding or object detector as a lowered ONNX graph.

network_import        a classifier or an embedding network from ONNX, TorchScript or a torch module
detector_import       an object detector of a known family from ONNX or TFLite
onnx_file               an ONNX file as one canonical graph: one image, known shapes, constants folded, opset 20
tflite_ssd             a quantized TFLite SSD as a float ONNX graph
detector_family_table   outputs, pixel normalization and labels of the known detector families
postprocessing_removal  cut behind the last convolutions of a detector; names for its outputs
preprocessing_folding   space-to-depth and normalization folded into the first convolution
lowering                operators that the two runtimes round differently, rewritten as convolutions
"""
