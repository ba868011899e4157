"""The public tier: pipeline, request handlers, authentication and features."""
