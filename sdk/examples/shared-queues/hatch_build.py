"""Says where the SDK is: two folders up, wherever the checkout lies. Works for pip and for uv."""

from __future__ import annotations

from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface


class CheckoutOfTheSdk(MetadataHookInterface):
    def update(self, metadata: dict[str, object]) -> None:
        sdk = Path(self.root).resolve().parents[1]
        metadata["dependencies"] = [f"polos-web-sdk @ {sdk.as_uri()}"]
