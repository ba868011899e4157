"""Where the bytes of images are: stores that speak the Swift API, and stores that speak S3's."""
