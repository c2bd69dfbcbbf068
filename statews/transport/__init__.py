"""The effects: sockets, TLS, proxies, and one WebSocket link over them. Everything that waits goes through anyio."""
