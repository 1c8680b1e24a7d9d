"""Checks of a TFLite file before a library reads it.

Every index and offset that LiteRT follows must lie inside the file or its tables: it had faults where buffers, tensors
or operator codes were counted past the end, and where sizes wrapped around. A model of a bundle has one graph, no
operator outside the standard, and none that calls another graph. Numbers of fields are those of LiteRT's schema.
"""

from __future__ import annotations

from math import prod

from .binary_formats import FlatTable, ModelFileError

IDENTIFIER = b"TFL3"
# TensorType -> bits of an element (schema.fbs). Texts (5), resources (13) and variants (14) have no fixed size.
_BITS = {0: 32, 1: 16, 2: 32, 3: 8, 4: 64, 6: 8, 7: 16, 8: 64, 9: 8, 10: 64, 11: 128, 12: 64, 15: 32, 16: 16, 17: 4}
_BITS |= {18: 16, 19: 2, 20: 4}
# Operators that call graphs, run foreign code or keep state (BuiltinOperator).
_REFUSED = {31: "CALL", 32: "CUSTOM", 51: "DELEGATE", 118: "IF", 119: "WHILE", 129: "CALL_ONCE", 136: "HASHTABLE"}
_REFUSED |= {137: "HASHTABLE_FIND", 138: "HASHTABLE_IMPORT", 139: "HASHTABLE_SIZE", 142: "VAR_HANDLE"}
_REFUSED |= {143: "READ_VARIABLE", 144: "ASSIGN_VARIABLE"}
_CUSTOM = 32
_STABLEHLO = range(162, 210)
_PLACEHOLDER_FOR_GREATER = 127  # then the newer field of the operator code holds its number
_MAX_DIMENSION = (1 << 31) - 1


def check_tflite_file(content: bytes, memory: int, custom_operators: bool = False) -> None:
    """Checks the bytes of a TFLite file.

    Args:
        content: the file
        memory: most bytes that its tensors may have together
        custom_operators: operators outside the standard are allowed, as in files of other programs

    Raises:
        ModelFileError: the file is damaged, or has what no model of a bundle needs.
    """
    if content[4:8] != IDENTIFIER:
        raise ModelFileError("not a TFLite file")
    model = FlatTable.root(content)
    operators = [_operator_number(code, custom_operators) for code in model.tables(1)]
    graphs, buffers = model.tables(2), model.tables(4)
    if len(graphs) != 1:
        raise ModelFileError(f"{len(graphs)} graphs instead of one")
    if model.tables(8) or model.tables(9):
        raise ModelFileError("weights in other files, which no signature covers")
    sizes = [_buffer_size(buffer) for buffer in buffers]
    graph = graphs[0]
    tensors = graph.tables(0)
    _check_tensors(tensors, sizes, memory)
    _check_indices([*graph.integers(1), *graph.integers(2)], len(tensors), optional=False)
    if not graph.integers(1) or not graph.integers(2):
        raise ModelFileError("no input or no output")
    _check_operators(graph.tables(3), operators, len(tensors), custom_operators)


def _operator_number(code: FlatTable, custom_operators: bool) -> int:
    """The number of an operator code; refuses what `_REFUSED` names."""
    old, new = code.integer(0, "b"), code.integer(3, "i")
    number = max(old, new) if old == _PLACEHOLDER_FOR_GREATER or new > old else old
    if number == _CUSTOM and custom_operators:
        return number
    if number in _REFUSED or code.byte_count(1):
        raise ModelFileError(f"the operator {_REFUSED.get(number, 'CUSTOM')}, which no model of a bundle has")
    if number < 0 or number in _STABLEHLO:
        raise ModelFileError(f"the operator {number}, which no model of a bundle has")
    return number


def _buffer_size(buffer: FlatTable) -> int:
    """The bytes of a buffer; 0: none, so that its tensor is computed."""
    offset, size = buffer.integer(1, "Q"), buffer.integer(2, "Q")
    if offset > 1 or size > 1:  # 0 and 1 are placeholders: the data lie in the table
        raise ModelFileError("a buffer outside the tables of the file")
    return buffer.byte_count(0) or 0


def _check_tensors(tensors: list[FlatTable], buffers: list[int], memory: int) -> None:
    total = 0
    for tensor in tensors:
        shape, kind, buffer = tensor.integers(0), tensor.integer(1, "b"), tensor.integer(2, "I")
        if kind not in _BITS:
            raise ModelFileError(f"a tensor of type {kind}, which has no fixed size")
        if buffer >= len(buffers):
            raise ModelFileError(f"a tensor in buffer {buffer} of {len(buffers)}")
        if len(shape) > 8 or any(not 0 <= side <= _MAX_DIMENSION for side in shape):
            raise ModelFileError(f"a tensor of shape {shape[:20]}")
        if any(side < -1 for side in tensor.integers(7)):
            raise ModelFileError("a tensor with a negative side")
        if tensor.integer(5, "b"):
            raise ModelFileError("a variable, which keeps its value between two frames")
        if tensor.table(6) is not None or tensor.tables(9) or tensor.integer(10, "I"):
            raise ModelFileError("a sparse or nested tensor, or one in another file")
        size = (prod(shape) * _BITS[kind] + 7) // 8
        if buffers[buffer] and buffers[buffer] != size:
            raise ModelFileError(f"a tensor of shape {shape} holds {buffers[buffer]} bytes instead of {size}")
        _check_quantization(tensor.table(4), shape)
        total += size
        if total > memory:
            raise ModelFileError(f"its tensors need {total >> 20} MB; {memory >> 20} are allowed")


def _check_quantization(table: FlatTable | None, shape: tuple[int, ...]) -> None:
    """Scales and zero points are as many as the channels they belong to."""
    if table is None:
        return
    scales, zero_points = len(table.integers(2, "I")), len(table.integers(3, "q"))
    axis = table.integer(6, "i")
    if scales <= 1 and zero_points <= 1:
        return
    if not 0 <= axis < len(shape) or scales != shape[axis] or zero_points not in (0, 1, scales):
        raise ModelFileError(f"{scales} scales and {zero_points} zero points for a tensor of shape {shape}")


def _check_operators(operators: list[FlatTable], codes: list[int], tensors: int, custom_operators: bool) -> None:
    for operator in operators:
        index = operator.integer(0, "I")
        if index >= len(codes):
            raise ModelFileError(f"an operator with the code {index} of {len(codes)}")
        if not custom_operators and (operator.byte_count(5) or operator.integer(9, "Q")):
            raise ModelFileError("an operator with options of its own format")
        _check_indices(operator.integers(1), tensors, optional=True)
        _check_indices([*operator.integers(2), *operator.integers(8)], tensors, optional=False)


def _check_indices(indices: tuple[int, ...] | list[int], tensors: int, optional: bool) -> None:
    for index in indices:
        if not (-optional <= index < tensors):
            raise ModelFileError(f"tensor {index} of {tensors}")
