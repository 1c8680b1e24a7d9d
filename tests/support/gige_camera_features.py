"""How the GigE Vision camera in software describes itself: the features of its XML, each with its register."""

from __future__ import annotations

FEATURES_AT = 0x8000
"""Register of the width; the others follow."""
_REGISTERS = (
    *("Width", "Height", "OffsetX", "OffsetY", "PayloadSize", "PixelFormatRegister", "AcquisitionModeRegister"),
    *("AcquisitionRegister", "TriggerSelectorRegister", "TriggerModeRegister"),
    *("ChunkModeRegister", "ChunkSelectorRegister", "ChunkEnableRegister"),
)
_ADDRESSES = {name: FEATURES_AT + 4 * number for number, name in enumerate(_REGISTERS)}
PAYLOAD_SIZE, PIXEL_FORMAT, ACQUISITION = (
    _ADDRESSES[name] for name in ("PayloadSize", "PixelFormatRegister", "AcquisitionRegister")
)
TIMESTAMP_CHUNK = 0x1001
CHUNK_MODE, CHUNK_ENABLE = _ADDRESSES["ChunkModeRegister"], _ADDRESSES["ChunkEnableRegister"]

_ENUMERATIONS = {
    "PixelFormat": {"Mono8": 0x01080001},
    "AcquisitionMode": {"Continuous": 0},
    "TriggerSelector": {"FrameStart": 0},
    "TriggerMode": {"Off": 0, "On": 1},
}
_CHUNK_ENUMERATION = {"ChunkSelector": {"ExposureTime": 0, "Timestamp": 1}}
_COMMANDS = {"AcquisitionStart": 1, "AcquisitionStop": 0}
_SCHEMA = "http://www.genicam.org/GenApi/Version_1_1"


def describe(has_chunks: bool) -> str:
    """The XML; without the features of chunk data where it has none."""
    enumerations = _ENUMERATIONS | (_CHUNK_ENUMERATION if has_chunks else {})
    nodes = [_describe_register(name, address) for name, address in _ADDRESSES.items()]
    nodes += [_describe_enumeration(name, entries) for name, entries in enumerations.items()]
    nodes += [
        f'<Command Name="{name}"><pValue>AcquisitionRegister</pValue><CommandValue>{value}</CommandValue></Command>'
        for name, value in _COMMANDS.items()
    ]
    if has_chunks:
        nodes += [_describe_switch("ChunkModeActive", "ChunkModeRegister")]
        nodes += [_describe_switch("ChunkEnable", "ChunkEnableRegister")]
        nodes += [f'<Port Name="TimestampPort"><ChunkID>{TIMESTAMP_CHUNK:x}</ChunkID></Port>']
        nodes += [_describe_register("ChunkTimestamp", 0, size=8, port="TimestampPort", access="RO")]
    features = "".join(f"<pFeature>{name}</pFeature>" for name in (*_REGISTERS[:5], *enumerations, *_COMMANDS))
    versions = "".join(f'{which}="1" ' for which in ("MajorVersion", "MinorVersion", "SubMinorVersion"))
    versions += 'SchemaMajorVersion="1" SchemaMinorVersion="1" SchemaSubMinorVersion="0" '
    guids = 'ProductGuid="11111111-1111-1111-1111-111111111111" VersionGuid="11111111-1111-1111-1111-111111111112"'
    return (
        f'<?xml version="1.0" encoding="utf-8"?><RegisterDescription ModelName="Chunks" VendorName="Vedette" '
        f'ToolTip="" StandardNameSpace="GEV" {versions}{guids} xmlns="{_SCHEMA}">'
        f'<Category Name="Root">{features}</Category><Port Name="Device"></Port>{"".join(nodes)}</RegisterDescription>'
    )


def _describe_register(name: str, address: int, size: int = 4, port: str = "Device", access: str = "RW") -> str:
    return (
        f'<IntReg Name="{name}"><Address>0x{address:x}</Address><Length>{size}</Length>'
        f"<AccessMode>{access}</AccessMode><pPort>{port}</pPort><Cachable>NoCache</Cachable>"
        "<Sign>Unsigned</Sign><Endianess>BigEndian</Endianess></IntReg>"
    )


def _describe_enumeration(name: str, entries: dict[str, int]) -> str:
    lines = "".join(f'<EnumEntry Name="{each}"><Value>{value}</Value></EnumEntry>' for each, value in entries.items())
    return f'<Enumeration Name="{name}">{lines}<pValue>{name}Register</pValue></Enumeration>'


def _describe_switch(name: str, register: str) -> str:
    return f'<Boolean Name="{name}"><pValue>{register}</pValue><OnValue>1</OnValue><OffValue>0</OffValue></Boolean>'
