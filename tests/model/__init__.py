"""The session protocol `statews.v1` as a small model, every behaviour of which is searched."""
