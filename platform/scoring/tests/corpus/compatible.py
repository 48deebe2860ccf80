"""What the pinned exporters need to work together."""

import numpy as np
import onnx.helper
import skl2onnx.common._container


def with_recent_onnx():
    """Lets skl2onnx write attributes that current versions of onnx refuse.

    It passes lists of NumPy integers and of booleans for histogram boosting; onnx wants plain ones.
    """
    original = onnx.helper.make_node

    def make_node(*arguments, **attributes):
        plain = {name: plain_list(value) if isinstance(value, (list, tuple)) else value for name, value in attributes.items()}
        return original(*arguments, **plain)

    skl2onnx.common._container.make_node = make_node


def plain_list(values):
    values = [value.item() if isinstance(value, np.generic) else value for value in values]
    return [int(value) if isinstance(value, bool) else value for value in values]
