"""The EC2 query API: the same servers, images and keys in the words of Amazon's clients."""
