"""The pricing sidecar: HTTP and WebSocket edge over the engine's snapshots."""
