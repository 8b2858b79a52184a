"""Pages of what belongs to workflows."""
