"""What ``data.js`` does, in Python: for tests of what a page holds."""

import base64
import json
import re
import struct
import zlib

import numpy as np


def unpacked(text):
    """Return the JSON object of packed text, and what reads its arrays."""
    data = zlib.decompress(base64.b64decode(text))
    (length,) = struct.unpack("<I", data[:4])

    def array(ref):
        start = 4 + length + ref["at"]
        planes = np.frombuffer(data[start : start + ref["bytes"]], np.uint8).reshape(4, -1)
        steps = np.ascontiguousarray(planes.T).view("<i4").reshape(ref["shape"])
        return np.cumsum(steps, axis=0, dtype=np.int32) * ref["step"]

    return json.loads(data[4 : 4 + length]), array


def data_of(page):
    """Return the same of a whole page."""
    (text,) = re.findall(r'id="data">([^<]*)<', page)
    return unpacked(text)
