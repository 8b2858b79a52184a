"""Searching executions: `line` reads what somebody typed, `finding` looks for it, newest first, never for long."""
