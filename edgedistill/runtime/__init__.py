"""On the device: sensors, selector, sessions."""

if __name__ != "edgedistill.runtime":  # reached through the link at the root: every module would load twice
    raise ImportError("import edgedistill.runtime, not runtime: the folder at the root is a link for readers")
