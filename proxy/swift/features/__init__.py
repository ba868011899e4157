"""The features of the Swift API's pipeline, one file for each."""
