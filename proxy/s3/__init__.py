"""The S3 API: requests become commands of the core, results become answers in XML."""
