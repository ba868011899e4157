"""The image service: Glance's API v2, with the bytes of images in an object store."""
