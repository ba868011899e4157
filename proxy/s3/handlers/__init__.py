"""What carries the operations of the S3 API out."""
