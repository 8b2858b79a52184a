"""One file per subject of the pages; each view checks access, reads or calls one verb, and renders."""
