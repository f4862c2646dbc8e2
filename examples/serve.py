"""The top-n lists of some users from an exported model; all it needs is numpy and onnxruntime.

    rdcore export KEY student.onnx                   # also writes student.onnx.data and student.npz
    python examples/serve.py student.onnx USER ...   # users by their labels in the data set
"""

import os
import sys

import numpy as np
import onnxruntime

if len(sys.argv) < 3:
    sys.exit(f"usage: python {sys.argv[0]} student.onnx USER ...   (a file of rdcore export, and labels of users)")
path, *labels = sys.argv[1:]
os.path.isfile(path) or sys.exit(f"{path} is no file: give the one that rdcore export has written")
options = onnxruntime.SessionOptions()
# The weights stay in their file, mapped into memory: no second copy in another layout, which pays for large batches only.
options.add_session_config_entry("session.disable_prepacking", "1")
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
known = np.load(path.removesuffix(".onnx") + ".npz")
items, offsets, user_ids, item_ids = (known[name] for name in ("items", "offsets", "user_ids", "item_ids"))
for label in labels:
    (user,) = np.flatnonzero(user_ids.astype(str) == label).tolist() or sys.exit(f"{path} knows no user {label!r}")
    past = items[offsets[user] : offsets[user + 1]]
    best, scores = session.run(None, {"user": np.array([user]), "past": past[None]})
    for item, score in zip(best[0], scores[0], strict=True):
        if score > -np.inf:  # else the user has everything else already
            print(label, item_ids[item], f"{score:.6f}", sep="\t")
