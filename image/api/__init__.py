"""The image API, version 2: requests and answers. What they do is in the folder above."""
