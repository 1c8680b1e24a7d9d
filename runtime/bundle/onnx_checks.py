"""Checks of an ONNX file before a library reads it.

Vedette writes plain files: one graph, all weights inside, operators of the standard. What a graph may have beyond that
is where readers of ONNX files had their faults: weights in other files (they may name any file of the machine, or an
address in memory), operators of foreign domains, functions, graphs inside operators (a loop need not end), and shapes
whose product is larger than the file or the memory.
"""

from __future__ import annotations

from math import prod

from .binary_formats import ModelFileError, read_fields, read_packed_integers, read_text

STANDARD_DOMAINS = frozenset({"", "ai.onnx"})
CONTEXT_DOMAIN, CONTEXT_OPERATOR = "com.microsoft", "EPContext"  # of a part that ONNX Runtime has compiled
# TensorProto.DataType -> bits of an element (onnx.proto3). Texts (8) have no fixed size.
_BITS = {1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128}
_BITS |= {16: 16, 17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2}
_MAX_DEPTH = 4  # of graphs in graphs, where they are allowed
_GRAPH, _OPSETS, _TRAINING, _FUNCTIONS = 7, 8, 20, 25  # fields of ModelProto
_NODES, _WEIGHTS, _SPARSE_WEIGHTS, _VALUES = 1, 5, 15, (11, 12, 13)  # of GraphProto
_ATTRIBUTES, _OPERATOR, _NODE_DOMAIN = 5, 4, 7  # of NodeProto
_TENSOR, _INNER_GRAPH, _TENSORS, _INNER_GRAPHS, _SPARSE = 5, 6, 10, 11, (22, 23)  # of AttributeProto
_DIMS, _TYPE, _RAW, _EXTERNAL, _LOCATION = 1, 2, 9, 13, 14  # of TensorProto
_DATA = {4: 4, 5: 1, 7: 1, 10: 8, 11: 1}  # its typed data: least bytes of an element in the file


def check_onnx_file(content: bytes, memory: int, branches: bool = False, context: bool = False) -> None:
    """Checks the bytes of an ONNX file.

    Args:
        content: the file
        memory: most bytes that its tensors may have together
        branches: operators may hold graphs, as in files of other programs; loops are refused all the same
        context: parts may be compiled (`EPContext`), if they lie in the file and not beside it

    Raises:
        ModelFileError: the file is damaged, or has what no model of a bundle needs.
    """
    _OnnxFile(memory, branches, context).check(memoryview(content))


class _OnnxFile:
    """Adds up the tensors of one file."""

    def __init__(self, memory: int, branches: bool, context: bool) -> None:
        self.memory, self.branches, self.context, self.bytes = memory, branches, context, 0
        self.compiled_parts = 0

    def check(self, model: memoryview) -> None:
        graphs = 0
        for number, value in read_fields(model):
            if number == _GRAPH:
                graphs += 1
                self._check_graph(_message(value), 0)
            elif number == _OPSETS and not self.branches and not self.context:
                self._check_domain(next((each for field, each in read_fields(_message(value)) if field == 1), None))
            elif number == _TRAINING or (number == _FUNCTIONS and not self.branches):
                raise ModelFileError("it holds functions or training data")
        if graphs != 1:
            raise ModelFileError(f"{graphs} graphs instead of one")
        if self.context and not self.compiled_parts:
            raise ModelFileError("no part of it is compiled: everything would be compiled again, or run elsewhere")

    def _check_graph(self, graph: memoryview, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise ModelFileError("graphs are nested too deeply")
        for number, value in read_fields(graph):
            if number == _NODES:
                self._check_node(_message(value), depth)
            elif number == _WEIGHTS:
                self._check_tensor(_message(value))
            elif number == _SPARSE_WEIGHTS:
                raise ModelFileError("it holds sparse weights")
            elif number in _VALUES:
                self._check_value(_message(value))

    def _check_node(self, node: memoryview, depth: int) -> None:
        if self.context and _is_compiled_part(node):
            self.compiled_parts += 1
            return
        operator = ""
        for number, value in read_fields(node):
            if number == _OPERATOR:
                operator = read_text(value)
                if operator in ("Loop", "Scan", "SequenceMap"):
                    raise ModelFileError(f"the operator {operator} may never end")
            elif number == _NODE_DOMAIN and not self.branches:
                self._check_domain(value)
            elif number == _ATTRIBUTES:
                for field, each in read_fields(_message(value)):
                    if field in (_TENSOR, _TENSORS):
                        self._check_tensor(_message(each))
                    elif field in (_INNER_GRAPH, _INNER_GRAPHS):
                        if not self.branches:
                            raise ModelFileError(f"the operator {operator} holds a graph of its own")
                        self._check_graph(_message(each), depth + 1)
                    elif field in _SPARSE:
                        raise ModelFileError("it holds sparse weights")

    def _check_domain(self, value: int | memoryview | None) -> None:
        domain = "" if value is None else read_text(value)
        if domain not in STANDARD_DOMAINS:
            raise ModelFileError(f"operators of the domain {domain[:60]!r}, which is not standard ONNX")

    def _check_tensor(self, tensor: memoryview) -> None:
        """The weights lie in the file, and are as many as their shape says."""
        dims: list[int] = []
        kind, stored, least = 0, 0, 0
        for number, value in read_fields(tensor):
            if number == _DIMS:
                dims += read_packed_integers(value)
            elif number == _TYPE and isinstance(value, int):
                kind = value
            elif number == _EXTERNAL or (number == _LOCATION and value != 0):
                raise ModelFileError("weights in other files, which no signature covers")
            elif number == _RAW:
                stored = len(_message(value))
            elif number in _DATA:
                least += max(1, len(value) // _DATA[number]) if isinstance(value, memoryview) else 1
        if kind not in _BITS:
            raise ModelFileError(f"a tensor of type {kind}, which has no fixed size")
        size = self._add(dims, kind)
        if stored and stored != size:
            raise ModelFileError(f"a tensor of shape {dims} holds {stored} bytes instead of {size}")
        if not stored and size and least == 0:
            raise ModelFileError(f"a tensor of shape {dims} holds no values")

    def _check_value(self, value: memoryview) -> None:
        """An input, an output or a value in between has a bounded size, as far as it is known."""
        for number, kind in read_fields(value):
            if number != 2:
                continue
            for variant, tensor in read_fields(_message(kind)):
                if variant == 1:
                    self._check_tensor_type(_message(tensor))
                elif variant in (4, 5, 7, 8, 9) and not self.branches:
                    raise ModelFileError("a value that is no tensor")

    def _check_tensor_type(self, tensor: memoryview) -> None:
        kind, dims = 0, []
        for number, value in read_fields(tensor):
            if number == 1 and isinstance(value, int):
                kind = value
            elif number == 2:
                for _, dim in read_fields(_message(value)):
                    known = [each for field, each in read_fields(_message(dim)) if field == 1]
                    dims += [read_packed_integers(each)[0] for each in known if isinstance(each, int)]
        if kind in _BITS:
            self._add(dims, kind)

    def _add(self, dims: list[int], kind: int) -> int:
        """The bytes of a tensor, which are added to those before."""
        if len(dims) > 32 or any(dim < 0 for dim in dims):
            raise ModelFileError(f"a tensor of shape {dims[:40]}")
        size = (prod(dims) * _BITS[kind] + 7) // 8
        self.bytes += size
        if self.bytes > self.memory:
            raise ModelFileError(f"its tensors need {self.bytes >> 20} MB; {self.memory >> 20} are allowed")
        return size


def _is_compiled_part(node: memoryview) -> bool:
    """Whether a node is a compiled part.

    Raises:
        ModelFileError: it is one that lies in another file.
    """
    fields = read_fields(node)
    named = {number: read_text(value) for number, value in fields if number in (_OPERATOR, _NODE_DOMAIN)}
    if named != {_OPERATOR: CONTEXT_OPERATOR, _NODE_DOMAIN: CONTEXT_DOMAIN}:
        return False
    attributes = [dict(read_fields(_message(value))) for number, value in read_fields(node) if number == _ATTRIBUTES]
    modes = [each.get(3) for each in attributes if read_text(each.get(1, 0)) == "embed_mode"]
    if not modes or any(mode != 1 for mode in modes):
        raise ModelFileError("a compiled part in another file, which no signature covers")
    return True


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ModelFileError("a number where a message is due")
    return value
