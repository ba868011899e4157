"""The Swift API: requests, the pipeline of features, and answers."""
