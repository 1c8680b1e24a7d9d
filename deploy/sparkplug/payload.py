"""Sparkplug B payloads (Eclipse Sparkplug 3.0.0, chapter 6): Protocol Buffers with metrics.

The message type is described here with the field numbers of the specification, as far as this program uses it; fields
that are not described are skipped by the library.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import msgspec
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

Value = bool | int | float | str | None
UINT64, DOUBLE, BOOLEAN, STRING = 8, 10, 11, 12
"""Data types of metrics."""
_VALUE_FIELDS = {UINT64: "long_value", DOUBLE: "double_value", BOOLEAN: "boolean_value", STRING: "string_value"}
_PACKAGE = "org.eclipse.tahu.protobuf"


class Metric(msgspec.Struct, frozen=True):
    """A value of an edge node or device."""

    name: str
    """Empty in messages after the birth, which name it by alias."""
    datatype: int
    """Also told after the birth, where it should not be needed: Eclipse Tahu's JavaScript reads no value without it."""
    value: Value
    """None: unknown."""
    milliseconds: int = 0
    """When it became so, since 1970; 0: now."""
    alias: int = 0
    """Number that stands for the name after the birth; 0: none."""
    is_historical: bool = False
    """True: it was so then, and says nothing of now."""


def _describe() -> FileDescriptorProto:
    kinds = FieldDescriptorProto
    file = FileDescriptorProto(name="sparkplug_b.proto", package=_PACKAGE, syntax="proto2")
    payload = file.message_type.add(name="Payload")
    metric = payload.nested_type.add(name="Metric")
    metric.oneof_decl.add(name="value")
    metric_fields = (
        ("name", 1, kinds.TYPE_STRING),
        ("alias", 2, kinds.TYPE_UINT64),
        ("timestamp", 3, kinds.TYPE_UINT64),
        ("datatype", 4, kinds.TYPE_UINT32),
        ("is_historical", 5, kinds.TYPE_BOOL),
        ("is_null", 7, kinds.TYPE_BOOL),
        ("int_value", 10, kinds.TYPE_UINT32),
        ("long_value", 11, kinds.TYPE_UINT64),
        ("float_value", 12, kinds.TYPE_FLOAT),
        ("double_value", 13, kinds.TYPE_DOUBLE),
        ("boolean_value", 14, kinds.TYPE_BOOL),
        ("string_value", 15, kinds.TYPE_STRING),
    )
    for name, number, kind in metric_fields:
        field = metric.field.add(name=name, number=number, type=kind, label=kinds.LABEL_OPTIONAL)
        if name.endswith("_value"):
            field.oneof_index = 0
    payload.field.add(name="timestamp", number=1, type=kinds.TYPE_UINT64, label=kinds.LABEL_OPTIONAL)
    payload.field.add(name="metrics", number=2, type=kinds.TYPE_MESSAGE, label=kinds.LABEL_REPEATED,
                      type_name=f".{_PACKAGE}.Payload.Metric")  # fmt: skip
    payload.field.add(name="seq", number=3, type=kinds.TYPE_UINT64, label=kinds.LABEL_OPTIONAL)
    return file


_pool = DescriptorPool()
_pool.Add(_describe())
_Payload: Any = GetMessageClass(_pool.FindMessageTypeByName(f"{_PACKAGE}.Payload"))


def encode_payload(metrics: Iterable[Metric], sequence: int | None) -> bytes:
    """A payload with the present time.

    Args:
        metrics: in any order
        sequence: number of the message, 0…255; None: it has none (NDEATH)
    """
    now = time.time_ns() // 1_000_000
    payload = _Payload(timestamp=now)
    if sequence is not None:
        payload.seq = sequence
    for metric in metrics:
        field = payload.metrics.add(timestamp=metric.milliseconds or now, datatype=metric.datatype)
        if metric.name:
            field.name = metric.name
        if metric.alias:
            field.alias = metric.alias
        if metric.is_historical:
            field.is_historical = True
        if metric.value is None:
            field.is_null = True
        else:
            setattr(field, _VALUE_FIELDS[metric.datatype], metric.value)
    return bytes(payload.SerializeToString())


def decode_payload(payload: bytes) -> tuple[int | None, list[Metric]]:
    """Sequence number and metrics of a payload. Values of types that this program does not use are unknown.

    Raises:
        ValueError: it is no payload.
    """
    try:
        message = _Payload.FromString(payload)
    except DecodeError as error:
        raise ValueError(str(error)) from None
    metrics = [
        Metric(
            each.name,
            each.datatype,
            getattr(each, kind) if (kind := each.WhichOneof("value")) else None,
            each.timestamp,
            each.alias,
            each.is_historical,
        )
        for each in message.metrics
    ]
    return message.seq if message.HasField("seq") else None, metrics
