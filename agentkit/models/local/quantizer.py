"""The process that calls llama.cpp's quantizer, started by `quantize`."""

from __future__ import annotations

import json
import sys
from typing import Any

_NO_PACKAGE = 78


def main(order: str) -> int:
    """Carry out an order of `quantize`; the exit status is llama.cpp's."""
    try:
        import llama_cpp
    except ImportError:
        return _NO_PACKAGE
    asked: dict[str, Any] = json.loads(order)
    library: Any = llama_cpp  # its C bindings have no types
    params = library.llama_model_quantize_default_params()
    params.ftype = int(asked["kind"])
    params.allow_requantize = bool(asked["requantize"])
    source, target = str(asked["source"]).encode(), str(asked["target"]).encode()
    return int(library.llama_model_quantize(source, target, library.ctypes.byref(params)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
