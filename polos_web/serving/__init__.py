"""Runs the ASGI application on Daphne or on uvicorn, and stops it in the same order on both."""
