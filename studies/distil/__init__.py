"""From a table of clicks to a served student: `rdcore distil`, and the same from Python.

    import pandas as pd
    from studies.distil import distil

    result = distil(pd.read_csv("clicks.csv"), user="who", item="what", time="when", out="shop")
    print(result.table)
    print(result.files["report"])
"""

__all__ = ["Distilled", "distil"]


def __getattr__(name: str):
    if name not in __all__:
        raise AttributeError(f"module 'studies.distil' has no attribute {name!r}")
    from studies.distil import whole  # here, so that the command line does not wait for torch

    return getattr(whole, name)
