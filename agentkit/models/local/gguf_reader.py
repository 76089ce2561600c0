"""The header of a GGUF file, read with every count and length checked against the file's size.

Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from typing import NoReturn

from agentkit.models.local.errors import ModelFileInvalid

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MOST_ENTRIES = 65_536
_LONGEST_KEY = 65_535
_MOST_DIMENSIONS = 4
_STRING, _ARRAY, _BOOL = 8, 9, 7
_SCALARS = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    _BOOL: struct.Struct("<B"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
_U32, _U64 = _SCALARS[4], _SCALARS[10]

Scalar = int | float | bool | bytes
Value = Scalar | list[Scalar]


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorInfo:
    """One line of the tensor table; `offset` counts from the start of the data."""

    name: str
    dimensions: tuple[int, ...]
    type: int
    offset: int


@dataclass(frozen=True, kw_only=True, slots=True)
class GgufHeader:
    """Metadata and tensor table; the tensors' data begin at or after `end`."""

    metadata: dict[str, Value]
    tensors: tuple[TensorInfo, ...]
    end: int
    file_size: int


def read_header(path: str) -> GgufHeader:
    """The header of the file at `path`. Raises ModelFileInvalid, and OSError as `open` does."""
    with open(path, "rb") as file:
        start = file.read(len(_MAGIC))
        if start != _MAGIC:
            told = "empty" if not start else "not a GGUF file"
            raise ModelFileInvalid(path, told, advice="give the path of a .gguf model file")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Reader(path, data).header()


class _Reader:
    def __init__(self, path: str, data: mmap.mmap) -> None:
        self._path = path
        self._data = data
        self._size = len(data)
        self._at = len(_MAGIC)

    def header(self) -> GgufHeader:
        version = self._number(_U32)
        if version not in _VERSIONS:
            self._refuse(f"GGUF version {version} is not one of {_VERSIONS}")
        tensor_count = self._count("tensors", _MOST_ENTRIES)
        entry_count = self._count("metadata entries", _MOST_ENTRIES)
        metadata: dict[str, Value] = {}
        for _ in range(entry_count):
            key = self._name()
            if key in metadata:
                self._refuse(f"key {key[:60]!r} stands twice")
            metadata[key] = self._value(self._number(_U32))
        tensors = tuple(self._tensor() for _ in range(tensor_count))
        return GgufHeader(metadata=metadata, tensors=tensors, end=self._at, file_size=self._size)

    def _value(self, kind: int) -> Value:
        if kind != _ARRAY:
            return self._scalar(kind)
        kind = self._number(_U32)
        if kind == _STRING:
            count = self._count("array items", (self._size - self._at) // _U64.size)
            return [self._bytes() for _ in range(count)]
        scalar = self._struct(kind)
        count = self._count("array items", (self._size - self._at) // scalar.size)
        start, self._at = self._at, self._at + count * scalar.size
        return [item for (item,) in scalar.iter_unpack(self._data[start : self._at])]

    def _scalar(self, kind: int) -> Scalar:
        if kind == _STRING:
            return self._bytes()
        number = self._number(self._struct(kind))
        return bool(number) if kind == _BOOL else number

    def _struct(self, kind: int) -> struct.Struct:
        scalar = _SCALARS.get(kind)
        if scalar is None:
            self._refuse(f"metadata of unknown type {kind}")
        return scalar

    def _tensor(self) -> TensorInfo:
        name = self._name()
        dimension_count = self._number(_U32)
        if not 1 <= dimension_count <= _MOST_DIMENSIONS:
            self._refuse(f"tensor {name[:60]!r} has {dimension_count} dimensions")
        dimensions = tuple(self._number(_U64) for _ in range(dimension_count))
        return TensorInfo(
            name=name,
            dimensions=dimensions,
            type=self._number(_U32),
            offset=self._number(_U64),
        )

    def _name(self) -> str:
        raw = self._bytes(most=_LONGEST_KEY)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            self._refuse("a name is not UTF-8")

    def _bytes(self, most: int | None = None) -> bytes:
        length = self._count("bytes in a text", self._size - self._at if most is None else most)
        self._require(length)
        start, self._at = self._at, self._at + length
        return self._data[start : self._at]

    def _count(self, what: str, most: int) -> int:
        count = self._number(_U64)
        if count > most:
            self._refuse(f"{count} {what} cannot be in a file of {self._size} bytes")
        return count

    def _number(self, kind: struct.Struct) -> int:
        """The next number, which only metadata of a float type is no integer."""
        self._require(kind.size)
        number: int = kind.unpack_from(self._data, self._at)[0]
        self._at += kind.size
        return number

    def _require(self, size: int) -> None:
        if self._at + size > self._size:
            self._refuse(f"cut short at {self._size} bytes, in the middle of its header")

    def _refuse(self, problem: str) -> NoReturn:
        raise ModelFileInvalid(self._path, problem)
