"""The effects: sockets, TLS, proxies, one WebSocket link. All that waits goes through anyio."""
