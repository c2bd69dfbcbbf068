"""The client's half: the driver that runs the lifecycle, and the connection that users hold."""
