"""Export a supernet as a palette: graphs, the weights file, checks, the manifest."""

if __name__ != "edgedistill.exporters":  # reached through the link at the root: every module would load twice
    raise ImportError("import edgedistill.exporters, not exporters: the folder at the root is a link for readers")

from edgedistill.exporters.export_folder import check_place
from edgedistill.exporters.palette_writer import write_palette

__all__ = ["check_place", "write_palette"]
